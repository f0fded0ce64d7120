#!lua name=jupyter_collab_1

-- The log of a document, as functions that run atomically in Redis or Valkey.
--
-- All keys of a document are in one slot, by the hash tag {D}:
--   meta  hash   v, lineage, generation, seq, chain, snap (id), chunks, snap_seq, snap_chain,
--                and "n:<node>" -> "number seq chain" of the last batch of each node (rule 21)
--   log   stream id "<seq>-0"; fields: w node, c chain, t milliseconds, u0..un updates
--   snapshot chunks: strings under an immutable snapshot id (rule 29)
-- chain' = the first 16 hex digits of sha1(chain .. node .. updates): Redis has no sha256.
-- Function names carry the version (rule 26); a document written by a newer one is refused.

local VERSION = 1
local ZERO_CHAIN = '0000000000000000'

local function checked(meta)
  local v = redis.call('HGET', meta, 'v')
  if v and tonumber(v) > VERSION then
    return redis.error_reply('NEWER this document was written by a newer version: upgrade this server')
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- KEYS meta; ARGV proposal. The document's lineage; the proposal if there was none (rule 20).
local function reserve(keys, args)
  local newer = checked(keys[1])
  if newer then return newer end
  redis.call('HSETNX', keys[1], 'v', VERSION)
  redis.call('HSETNX', keys[1], 'lineage', args[1])
  return redis.call('HGET', keys[1], 'lineage')
end

-- KEYS meta, chunks...; ARGV lineage, generation, snapshot id. 1 if this seed is the document's, else 0.
local function seed(keys, args)
  local newer = checked(keys[1])
  if newer then return newer end
  local meta = redis.call('HMGET', keys[1], 'lineage', 'generation')
  if meta[2] then return meta[2] == args[2] and 1 or 0 end
  if meta[1] and meta[1] ~= args[1] then return 0 end
  for i = 2, #keys do
    if redis.call('PERSIST', keys[i]) == 0 and redis.call('EXISTS', keys[i]) == 0 then
      return redis.error_reply('CHUNKGONE a part of the snapshot is not there any more')
    end
  end
  redis.call('HSET', keys[1], 'v', VERSION, 'lineage', args[1], 'generation', args[2], 'seq', 0,
    'chain', ZERO_CHAIN, 'snap', args[3], 'chunks', #keys - 1, 'snap_seq', 0, 'snap_chain', ZERO_CHAIN)
  return 1
end

-- KEYS meta, log. nil if there is nothing; {lineage} if only reserved;
-- {lineage, generation, seq, chain, snapshot id, chunks, entries after the snapshot}.
local function load(keys)
  local newer = checked(keys[1])
  if newer then return newer end
  local meta = redis.call('HMGET', keys[1], 'lineage', 'generation', 'seq', 'chain', 'snap', 'chunks', 'snap_seq')
  if not meta[1] then return nil end
  if not meta[2] then return { meta[1] } end
  local entries = redis.call('XRANGE', keys[2], '(' .. meta[7] .. '-0', '+')
  return { meta[1], meta[2], meta[3], meta[4], meta[5], meta[6], entries }
end

-- KEYS meta, log; ARGV lineage, generation, node, number, channel, largest inline payload, updates...
-- {'OK', seq, chain} or {'STALE', lineage, generation}.
local function append(keys, args)
  local newer = checked(keys[1])
  if newer then return newer end
  local node, number = args[3], args[4]
  local meta = redis.call('HMGET', keys[1], 'lineage', 'generation', 'seq', 'chain', 'n:' .. node)
  if meta[1] ~= args[1] or meta[2] ~= args[2] then
    return { 'STALE', meta[1] or '', meta[2] or '' }
  end
  if meta[5] then
    local last, seq, chain = string.match(meta[5], '^(%d+) (%d+) (%x+)$')
    if last == number then return { 'OK', seq, chain } end
  end
  local seq = tonumber(meta[3]) + 1
  local updates, sizes, fields = {}, {}, {}
  for i = 7, #args do
    updates[#updates + 1] = args[i]
    sizes[#sizes + 1] = #args[i]
    fields[#fields + 1] = 'u' .. (i - 7)
    fields[#fields + 1] = args[i]
  end
  local body = table.concat(updates)
  local chain = string.sub(redis.sha1hex(meta[4] .. node .. body), 1, 16)
  redis.call('XADD', keys[2], seq .. '-0', 'w', node, 'c', chain, 't', now_ms(), unpack(fields))
  redis.call('HSET', keys[1], 'seq', seq, 'chain', chain, 'n:' .. node, number .. ' ' .. seq .. ' ' .. chain)
  local head = args[2] .. ' ' .. seq .. ' ' .. node .. ' ' .. chain .. ' '
  if #body <= tonumber(args[6]) then
    redis.call('SPUBLISH', args[5], head .. table.concat(sizes, ',') .. '\n' .. body)
  else
    redis.call('SPUBLISH', args[5], head .. '\n')
  end
  return { 'OK', tostring(seq), chain }
end

-- KEYS meta, log; ARGV generation, seq, chain. The entries after seq, or 'TRIMMED' when the cursor is
-- not a place in this log: too old, of another incarnation, or rolled back.
local function since(keys, args)
  local newer = checked(keys[1])
  if newer then return newer end
  local meta = redis.call('HMGET', keys[1], 'generation', 'seq', 'snap_seq', 'snap_chain')
  local seq = tonumber(args[2])
  if meta[1] ~= args[1] or seq > tonumber(meta[2]) then return 'TRIMMED' end
  local chain
  if seq == 0 then
    chain = ZERO_CHAIN
  elseif seq == tonumber(meta[3]) then
    chain = meta[4]
  else
    local at = redis.call('XRANGE', keys[2], seq .. '-0', seq .. '-0')
    if at[1] then
      for i = 1, #at[1][2], 2 do
        if at[1][2][i] == 'c' then chain = at[1][2][i + 1] end
      end
    end
  end
  if chain ~= args[3] then return 'TRIMMED' end
  local entries = redis.call('XRANGE', keys[2], '(' .. seq .. '-0', '+')
  if #entries ~= tonumber(meta[2]) - seq then return 'TRIMMED' end
  return entries
end

-- KEYS meta, log, old chunks..., new chunks...; ARGV generation, old snapshot id, number of old chunks,
-- new snapshot id, upto seq, chain at it, milliseconds that entries and the old snapshot are kept.
-- 1 when done, 0 when the log or the snapshot moved on.
local function compact(keys, args)
  local newer = checked(keys[1])
  if newer then return newer end
  local meta = redis.call('HMGET', keys[1], 'generation', 'snap')
  if meta[1] ~= args[1] or meta[2] ~= args[2] then return 0 end
  local old = tonumber(args[3])
  for i = 3 + old, #keys do
    if redis.call('EXISTS', keys[i]) == 0 then return 0 end
  end
  for i = 3 + old, #keys do redis.call('PERSIST', keys[i]) end
  for i = 3, 2 + old do redis.call('PEXPIRE', keys[i], args[7]) end
  redis.call('HSET', keys[1], 'snap', args[4], 'chunks', #keys - 2 - old, 'snap_seq', args[5], 'snap_chain', args[6])
  local oldest = now_ms() - tonumber(args[7])
  local keep = tonumber(args[5]) + 1
  for _, entry in ipairs(redis.call('XRANGE', keys[2], '-', args[5] .. '-0')) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 't' and tonumber(entry[2][i + 1]) >= oldest then
        keep = math.min(keep, tonumber(string.match(entry[1], '^%d+')))
      end
    end
  end
  redis.call('XTRIM', keys[2], 'MINID', '=', keep .. '-0')
  return 1
end

-- KEYS index; ARGV old path, new path ('' to forget). Moves the documents of all kinds at and below a
-- path; returns the ids of documents that ended.
local function move(keys, args)
  local old, new = args[1], args[2]
  local flat = redis.call('HGETALL', keys[1])
  local moved, ended = {}, {}
  local function under(path, top)
    return path == top or string.sub(path, 1, #top + 1) == top .. '/'
  end
  for i = 1, #flat, 2 do
    local kind, path = string.match(flat[i], '^([^:]*:[^:]*):(.*)$')
    if path and under(path, old) then
      redis.call('HDEL', keys[1], flat[i])
      if new == '' then
        ended[#ended + 1] = flat[i + 1]
      else
        moved[#moved + 1] = { kind .. ':' .. new .. string.sub(path, #old + 1), flat[i + 1] }
      end
    elseif path and new ~= '' and under(path, new) then
      redis.call('HDEL', keys[1], flat[i])
      ended[#ended + 1] = flat[i + 1]
    end
  end
  for _, entry in ipairs(moved) do redis.call('HSET', keys[1], entry[1], entry[2]) end
  return ended
end

-- KEYS lease; ARGV owner, milliseconds. {1, fence} when the owner has it, else {0, the owner}.
local function lease(keys, args)
  local now = now_ms()
  local held = redis.call('HMGET', keys[1], 'owner', 'until', 'fence')
  local fence = tonumber(held[3] or '0')
  if held[1] and held[1] ~= args[1] and tonumber(held[2]) > now then return { '0', held[1] } end
  if held[1] ~= args[1] or tonumber(held[2]) <= now then fence = fence + 1 end
  redis.call('HSET', keys[1], 'owner', args[1], 'until', now + tonumber(args[2]), 'fence', fence)
  return { '1', tostring(fence) }
end

-- KEYS lease; ARGV owner. The fence stays, so that it rises for the next owner.
local function release(keys, args)
  if redis.call('HGET', keys[1], 'owner') == args[1] then redis.call('HSET', keys[1], 'until', 0) end
  return 1
end

redis.register_function('jc1_reserve', reserve)
redis.register_function('jc1_seed', seed)
redis.register_function{ function_name = 'jc1_load', callback = load, flags = { 'no-writes' } }
redis.register_function('jc1_append', append)
redis.register_function{ function_name = 'jc1_since', callback = since, flags = { 'no-writes' } }
redis.register_function('jc1_compact', compact)
redis.register_function('jc1_move', move)
redis.register_function('jc1_lease', lease)
redis.register_function('jc1_release', release)
