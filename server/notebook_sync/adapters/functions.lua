#!lua name=jupyter_collab_1

-- The log of a document, as functions that run atomically in Redis or Valkey (7.0 or newer).
--
-- All keys of a document are in one slot, by the hash tag {D}:
--   meta   hash: v, lineage, generation, seq, chain, ended (ms),
--          snap (id), chunks, snap_seq, snap_chain,
--          marks "<seq>:<due ms>;...": entries up to seq may go when due (readers that lag, rule 29),
--          compactor "<token> <until ms>",
--          "n:<node>" -> "<number> <seq> <chain>" of the last batch of each node (rule 21),
--          "lease:<purpose>" -> "<owner> <until ms> <fence> <ttl ms> <run id>" (rule 7; no owner: nobody
--          gets it until then), run (the Redis it was seeded in), lease_after (ms): it was founded again
--   log    stream, id "<seq>-<ms>"; fields: w node, c chain, u0..un updates
--   files  hash: "<folder>:digest", "<folder>:base", "<folder>:intents" (a line each, newest first),
--          "<folder>:taking" ("<digest> <cell> <cell>…\n<slim form>")
--   snap:<id>:<k>  the parts of an immutable snapshot
-- Per namespace: paths (hash, "<path>\0<kind>" -> D), order (sorted set of the same, for "at and below"),
-- places (hash, D -> "<path>\0<kind>"), ending (set of D whose end is still to be marked),
-- sentinel (hash: incarnation, run_id, until (ms), window (ms); rules 3 and 8).
--
-- chain' = the first 16 hex digits of sha1(chain .. node .. updates): Lua here has no sha256.
-- Function names carry the version (rule 26); a document written by a newer one is refused.

local VERSION = 1
local ZERO_CHAIN = '0000000000000000'
local NODES_KEPT = 64
local PAGE_ENTRIES = 16

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Another one after each restart and failover; '' where INFO is forbidden.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end

-- HMGET, and an error when the document was written by a newer version.
local function fields(meta, ...)
  local values = redis.call('HMGET', meta, 'v', ...)
  local v = table.remove(values, 1)
  if v and tonumber(v) > VERSION then
    return values, redis.error_reply('NEWER this document was written by a newer version: upgrade this server')
  end
  return values, nil
end

-- Drop log entries whose time has come.
local function trim(meta, log, marks, now)
  local upto
  while true do
    local seq, due, rest = string.match(marks, '^(%d+):(%d+);(.*)$')
    if not seq or tonumber(due) > now then break end
    upto, marks = tonumber(seq), rest
  end
  if upto then
    redis.call('XTRIM', log, 'MINID', '=', upto + 1)
    redis.call('HSET', meta, 'marks', marks)
  end
  return marks
end

-- Up to max_bytes of entries after seq, in order; at least one if there is one.
local function page(log, seq, max_bytes)
  local found, bytes = {}, 0
  local start = tostring(seq + 1)
  while bytes < max_bytes do
    local some = redis.call('XRANGE', log, start, '+', 'COUNT', PAGE_ENTRIES)
    for _, entry in ipairs(some) do
      found[#found + 1] = entry
      for i = 2, #entry[2], 2 do bytes = bytes + #entry[2][i] end
    end
    if #some < PAGE_ENTRIES then break end
    start = '(' .. some[#some][1]
  end
  return found
end

-- --- content ---------------------------------------------------------------------------------------------

-- KEYS meta; ARGV proposal. The document's lineage; the proposal if there was none (rule 20).
local function reserve(keys, args)
  local meta, newer = fields(keys[1], 'lineage', 'ended')
  if newer then return newer end
  if meta[2] then return redis.error_reply('ENDED this document has ended') end
  if meta[1] then return meta[1] end
  redis.call('HSET', keys[1], 'v', VERSION, 'lineage', args[1])
  return args[1]
end

-- KEYS meta, log, chunks...; ARGV lineage, generation, snapshot id, snapshot bytes, milliseconds for which
-- no lease is granted (0 unless it is founded again). 1 if this seed is the document's, else 0.
local function seed(keys, args)
  local meta, newer = fields(keys[1], 'lineage', 'generation', 'ended')
  if newer then return newer end
  if meta[3] or (meta[1] and meta[1] ~= args[1]) then return 0 end
  if meta[2] then return meta[2] == args[2] and 1 or 0 end
  local bytes = 0
  for i = 3, #keys do bytes = bytes + redis.call('STRLEN', keys[i]) end
  if bytes ~= tonumber(args[4]) then
    return redis.error_reply('CHUNKGONE a part of the snapshot is not there any more')
  end
  for i = 3, #keys do redis.call('PERSIST', keys[i]) end
  redis.call('DEL', keys[2])
  redis.call('HSET', keys[1], 'v', VERSION, 'lineage', args[1], 'generation', args[2], 'seq', 0,
    'chain', ZERO_CHAIN, 'snap', args[3], 'chunks', #keys - 2, 'snap_seq', 0, 'snap_chain', ZERO_CHAIN,
    'marks', '', 'run', run_id())
  if tonumber(args[5]) > 0 then redis.call('HSET', keys[1], 'lease_after', now_ms() + tonumber(args[5])) end
  return 1
end

-- KEYS meta, log; ARGV bytes of a page. nil if there is nothing; {lineage} if only reserved;
-- {lineage, generation, seq, snapshot id, chunks, snapshot seq, snapshot chain, first page after it}.
local function load(keys, args)
  local meta, newer = fields(keys[1], 'lineage', 'generation', 'seq', 'snap', 'chunks', 'snap_seq',
    'snap_chain', 'ended')
  if newer then return newer end
  if meta[8] or not meta[1] then return nil end
  if not meta[2] then return { meta[1] } end
  meta[8] = page(keys[2], tonumber(meta[6]), tonumber(args[1]))
  return meta
end

-- KEYS meta, log; ARGV lineage, generation, node, number, channel, largest inline payload, updates...
-- {'OK', seq, chain} or {'STALE', lineage, generation}.
local function append(keys, args)
  local node, number = args[3], tonumber(args[4])
  local meta, newer = fields(keys[1], 'lineage', 'generation', 'seq', 'chain', 'marks', 'ended', 'n:' .. node)
  if newer then return newer end
  if meta[6] then return { 'STALE', '', '' } end
  if meta[1] ~= args[1] or meta[2] ~= args[2] then
    return { 'STALE', meta[1] or '', meta[2] or '' }
  end
  if meta[7] then
    local last, seq, chain = string.match(meta[7], '^(%d+) (%d+) (%x+)$')
    -- An older one is a straggler of a connection that was given up; nobody waits for its answer.
    if number <= tonumber(last) then return { 'OK', seq, chain } end
  end
  local seq = tonumber(meta[3]) + 1
  local now = now_ms()
  local updates, sizes, entry = {}, {}, {}
  for i = 7, #args do
    updates[#updates + 1] = args[i]
    sizes[#sizes + 1] = #args[i]
    entry[#entry + 1] = 'u' .. (i - 7)
    entry[#entry + 1] = args[i]
  end
  local body = table.concat(updates)
  local chain = string.sub(redis.sha1hex(meta[4] .. node .. body), 1, 16)
  redis.call('XADD', keys[2], seq .. '-' .. now, 'w', node, 'c', chain, unpack(entry))
  redis.call('HSET', keys[1], 'seq', seq, 'chain', chain, 'n:' .. node, number .. ' ' .. seq .. ' ' .. chain)
  if meta[5] and meta[5] ~= '' then trim(keys[1], keys[2], meta[5], now) end
  local head = args[2] .. ' ' .. seq .. ' ' .. node .. ' ' .. chain .. ' '
  if #body <= tonumber(args[6]) then
    redis.call('SPUBLISH', args[5], head .. table.concat(sizes, ',') .. '\n' .. body)
  else
    redis.call('SPUBLISH', args[5], head .. '\n')
  end
  return { 'OK', tostring(seq), chain }
end

-- The chain value at a place that is not after the log's end; nil when it is not known any more.
local function chain_at(log, seq, meta)
  if seq == tonumber(meta.seq) then return meta.chain end
  if seq == tonumber(meta.snap_seq) then return meta.snap_chain end
  if seq == 0 then return ZERO_CHAIN end
  local at = redis.call('XRANGE', log, seq, seq, 'COUNT', 1)
  return at[1] and at[1][2][3] == 'c' and at[1][2][4] or nil
end

-- The log's last seq when (generation, seq, chain) is a place in it; false when it is not: too old, of
-- another incarnation, or rolled back (rule 3). And an error, as fields.
local function last_seq_if_place(keys, generation, seq, chain)
  local found, newer = fields(keys[1], 'generation', 'seq', 'chain', 'snap_seq', 'snap_chain', 'ended')
  if newer then return false, newer end
  local meta = { seq = found[2], chain = found[3], snap_seq = found[4], snap_chain = found[5] }
  if found[6] or found[1] ~= generation or seq > tonumber(meta.seq) then return false end
  if chain_at(keys[2], seq, meta) ~= chain then return false end
  return tonumber(meta.seq)
end

local function begins_after(seq, entries)
  return entries[1] and tonumber(string.match(entries[1][1], '^%d+')) == seq + 1
end

-- KEYS meta, log; ARGV generation, seq, chain, bytes of a page. {last seq of the log, a page after seq},
-- or 'TRIMMED' when the cursor is no place in this log.
local function since(keys, args)
  local seq = tonumber(args[2])
  local last, newer = last_seq_if_place(keys, args[1], seq, args[3])
  if newer then return newer end
  if not last then return 'TRIMMED' end
  local entries = page(keys[2], seq, tonumber(args[4]))
  if seq < last and not begins_after(seq, entries) then return 'TRIMMED' end
  return { last, entries }
end

-- KEYS meta, log; ARGV generation, seq, chain. 1 if that is a place in this log, else 0: since says TRIMMED.
local function confirms(keys, args)
  local seq = tonumber(args[2])
  local last, newer = last_seq_if_place(keys, args[1], seq, args[3])
  if newer then return newer end
  if not last then return 0 end
  return (seq == last or begins_after(seq, page(keys[2], seq, 1))) and 1 or 0
end

-- --- compaction ------------------------------------------------------------------------------------------

-- KEYS meta, log; ARGV token, milliseconds. Take the right to compact, if there is something to.
-- {'OK', generation, snapshot id, chunks} or {'NO', why}.
local function compact_begin(keys, args)
  local meta, newer = fields(keys[1], 'generation', 'seq', 'snap_seq', 'snap', 'chunks', 'compactor',
    'marks', 'ended')
  if newer then return newer end
  if meta[8] or not meta[1] then return { 'NO', 'there is nothing to compact' } end
  local now, ttl = now_ms(), tonumber(args[2])
  if meta[7] and meta[7] ~= '' then trim(keys[1], keys[2], meta[7], now) end
  if meta[2] == meta[3] then return { 'NO', 'there is nothing to compact' } end
  if meta[6] then
    local ends = tonumber(string.match(meta[6], ' (%d+)$'))
    -- Farther off than any lease: the server's clock was set back, so the wait would not end (rule 7).
    if ends > now and ends <= now + ttl then return { 'NO', 'another node compacts this document' } end
  end
  redis.call('HSET', keys[1], 'compactor', args[1] .. ' ' .. (now + ttl))
  return { 'OK', meta[1], meta[4], meta[5] }
end

-- KEYS meta; ARGV token. Give the right to compact back.
local function compact_end(keys, args)
  local held = redis.call('HGET', keys[1], 'compactor')
  if held and string.match(held, '^%x+') == args[1] then redis.call('HDEL', keys[1], 'compactor') end
  return 1
end

-- Forget the last batch of all but the newest nodes.
local function prune(meta)
  local all, nodes = redis.call('HGETALL', meta), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'n:' then
      nodes[#nodes + 1] = { all[i], tonumber(string.match(all[i + 1], '^%d+ (%d+)')) }
    end
  end
  table.sort(nodes, function(a, b) return a[2] > b[2] end)
  for i = NODES_KEPT + 1, #nodes do redis.call('HDEL', meta, nodes[i][1]) end
end

-- KEYS meta, log, old chunks..., new chunks...; ARGV token, generation, old snapshot id, number of old
-- chunks, new snapshot id, its bytes, seq it goes up to, chain there, milliseconds that entries and the
-- old snapshot are kept. {'OK'} also when it was done before; {'NO', why}.
local function compact(keys, args)
  local meta, newer = fields(keys[1], 'generation', 'snap', 'marks', 'compactor', 'ended')
  if newer then return newer end
  if meta[2] == args[5] then return { 'OK' } end
  if meta[5] or meta[1] ~= args[2] or meta[2] ~= args[3] then return { 'NO', 'the document moved on' } end
  if not meta[4] or string.match(meta[4], '^%x+') ~= args[1] then
    return { 'NO', 'it took too long, and another node compacts' }
  end
  local old, bytes = tonumber(args[4]), 0
  for i = 3 + old, #keys do bytes = bytes + redis.call('STRLEN', keys[i]) end
  if bytes ~= tonumber(args[6]) then return { 'NO', 'a part of the new snapshot is gone' } end
  for i = 3 + old, #keys do redis.call('PERSIST', keys[i]) end
  for i = 3, 2 + old do redis.call('PEXPIRE', keys[i], args[9]) end
  local now = now_ms()
  local marks = (meta[3] or '') .. args[7] .. ':' .. (now + tonumber(args[9])) .. ';'
  redis.call('HSET', keys[1], 'snap', args[5], 'chunks', #keys - 2 - old, 'snap_seq', args[7],
    'snap_chain', args[8], 'marks', marks)
  redis.call('HDEL', keys[1], 'compactor')
  trim(keys[1], keys[2], marks, now)
  prune(keys[1])
  return { 'OK' }
end

-- KEYS meta, log, files; ARGV seconds. The document has ended: nothing is added any more, and what
-- there is goes after a while. {snapshot id, chunks} or {}.
local function finish(keys, args)
  local meta, newer = fields(keys[1], 'snap', 'chunks')
  if newer then return newer end
  redis.call('HSET', keys[1], 'v', VERSION)
  redis.call('HSETNX', keys[1], 'ended', now_ms())
  for _, key in ipairs(keys) do redis.call('EXPIRE', key, args[1]) end
  return meta[1] and meta or {}
end

-- --- names -----------------------------------------------------------------------------------------------

-- KEYS sentinel; ARGV proposal, milliseconds that recovery lasts. Notices that everything was lost, or
-- that this Redis was started again or took over. {incarnation, run id, milliseconds of recovery left}.
local function attend(keys, args)
  local now, run, window = now_ms(), run_id(), tonumber(args[2])
  local known = redis.call('HMGET', keys[1], 'incarnation', 'run_id', 'until', 'window')
  if known[1] and known[2] == run then
    local longest = now + tonumber(known[4])
    -- Farther off than it ever was: the server's clock was set back, so the wait would not end.
    if tonumber(known[3]) > longest then
      redis.call('HSET', keys[1], 'until', longest)
      known[3] = longest
    end
    return { known[1], run, math.max(0, tonumber(known[3]) - now) }
  end
  local incarnation = known[1] or args[1]
  redis.call('HSET', keys[1], 'incarnation', incarnation, 'run_id', run, 'until', now + window, 'window', window)
  return { incarnation, run, window }
end

-- KEYS paths, order, places; ARGV member, a new id, the id it had before it was lost ('' if none).
-- The id of the document at a path. Its former one only if that is at no other path (a server may know
-- only an older path of it).
local function document(keys, args)
  local found = redis.call('HGET', keys[1], args[1])
  if found then return found end
  local id = args[2]
  if args[3] ~= '' and not redis.call('HGET', keys[3], args[3]) then id = args[3] end
  redis.call('HSET', keys[1], args[1], id)
  redis.call('HSET', keys[3], id, args[1])
  redis.call('ZADD', keys[2], 0, args[1])
  return id
end

-- The members of all kinds at and below a path.
local function under(order, path)
  local found = redis.call('ZRANGEBYLEX', order, '[' .. path .. '\0', '(' .. path .. '\1')
  for _, member in ipairs(redis.call('ZRANGEBYLEX', order, '[' .. path .. '/', '(' .. path .. '0')) do
    found[#found + 1] = member
  end
  return found
end

-- KEYS paths, order, ending, places; ARGV old path, new path ('' to forget). Moves what is at and below a path;
-- what was at the new one ends. Nothing at the old one: nothing is done, so a repeat is harmless.
-- All documents whose end is still to be marked.
local function move(keys, args)
  local old, new = args[1], args[2]
  local moved, entries = under(keys[2], old), {}
  local function take(member)
    local id = redis.call('HGET', keys[1], member)
    redis.call('HDEL', keys[1], member)
    redis.call('HDEL', keys[4], id)
    redis.call('ZREM', keys[2], member)
    return id
  end
  for i, member in ipairs(moved) do entries[i] = { string.sub(member, #old + 1), take(member) } end
  if #moved > 0 and new ~= '' then
    for _, member in ipairs(under(keys[2], new)) do redis.call('SADD', keys[3], take(member)) end
  end
  for _, entry in ipairs(entries) do
    if new == '' then
      redis.call('SADD', keys[3], entry[2])
    else
      redis.call('HSET', keys[1], new .. entry[1], entry[2])
      redis.call('HSET', keys[4], entry[2], new .. entry[1])
      redis.call('ZADD', keys[2], 0, new .. entry[1])
    end
  end
  return redis.call('SMEMBERS', keys[3])
end

-- --- leases and files ------------------------------------------------------------------------------------

-- A lease's record; one that nobody ever had for a purpose without a record.
local function held_lease(record, ttl, founded_in, after)
  if not record then
    return { owner = '', ends = tonumber(after or 0), fence = 0, ttl = ttl, run = founded_in }
  end
  local owner, ends, fence, was, run = string.match(record, '^(%S*) (%d+) (%d+) (%d+) ?(%x*)$')
  return { owner = owner, ends = tonumber(ends), fence = tonumber(fence), ttl = tonumber(was), run = run }
end

local function keep_lease(meta, purpose, held)
  redis.call('HSET', meta, 'v', VERSION, 'lease:' .. purpose, string.format('%s %.0f %.0f %.0f %s', held.owner,
    held.ends, held.fence, held.ttl, held.run))
end

-- KEYS meta; ARGV purpose, owner, milliseconds, milliseconds more for which leases that this Redis may have
-- forgotten are waited for (0: it forgets none). {'OK', fence, generation} when the owner has it,
-- {'NO', who has} (rule 7).
local function lease(keys, args)
  local meta, newer = fields(keys[1], 'lease:' .. args[1], 'generation', 'run', 'lease_after')
  if newer then return newer end
  local now, run, ttl, grace = now_ms(), run_id(), tonumber(args[3]), tonumber(args[4])
  local held = held_lease(meta[1], ttl, meta[3] or run, meta[4])
  if grace > 0 and held.run ~= run then
    -- Granted, or not yet, before a restart or a failover, which may have lost a later grant.
    held.owner, held.run = '', run
    held.ttl = math.max(held.ttl, ttl) + grace
    held.ends = now + held.ttl
    keep_lease(keys[1], args[1], held)
  end
  local longest = held.owner == '' and math.max(held.ttl, ttl + grace) or held.ttl
  if held.ends > now + longest then
    -- The server's clock was set back: the holder counts its own time, so wait once more.
    held.ends = now + longest
    keep_lease(keys[1], args[1], held)
  end
  if held.owner ~= args[2] and held.ends > now then return { 'NO', held.owner } end
  if held.owner ~= args[2] or held.ends <= now then held.fence = held.fence + 1 end
  held.owner, held.ends, held.ttl, held.run = args[2], now + ttl, ttl, run
  keep_lease(keys[1], args[1], held)
  return { 'OK', tostring(held.fence), meta[2] or '' }
end

-- KEYS meta; ARGV purpose, owner. The fence stays, so that it rises for the next owner.
local function release(keys, args)
  local meta, newer = fields(keys[1], 'lease:' .. args[1])
  if newer then return newer end
  local held = meta[1] and held_lease(meta[1])
  if held and held.owner == args[2] then
    held.ends = 0
    keep_lease(keys[1], args[1], held)
  end
  return 1
end

-- KEYS files; ARGV folder, intent (one line), how many are kept. Newest first; a repeat moves up.
-- The newest intents are kept, and beyond them the newest of each other node: a server that was frozen
-- for long must still be recognised when it goes on (rule 5).
local function intend(keys, args)
  local name, kept, nodes = args[1] .. ':intents', { args[2] }, {}
  local newest, most = tonumber(args[3]), tonumber(args[4] or args[3])
  nodes[string.match(args[2], '"node":"([^"]*)"') or ''] = true
  for line in string.gmatch(redis.call('HGET', keys[1], name) or '', '[^\n]+') do
    local node = string.match(line, '"node":"([^"]*)"') or ''
    if line ~= args[2] and (#kept < newest or (#kept < most and not nodes[node])) then
      kept[#kept + 1], nodes[node] = line, true
    end
  end
  redis.call('HSET', keys[1], name, table.concat(kept, '\n'))
  return 1
end

-- --- registration ----------------------------------------------------------------------------------------

redis.register_function('jc1_reserve', reserve)
redis.register_function('jc1_seed', seed)
redis.register_function{ function_name = 'jc1_load', callback = load, flags = { 'no-writes' } }
redis.register_function('jc1_append', append)
redis.register_function{ function_name = 'jc1_since', callback = since, flags = { 'no-writes' } }
redis.register_function{ function_name = 'jc1_confirms', callback = confirms, flags = { 'no-writes' } }
redis.register_function('jc1_compact_begin', compact_begin)
redis.register_function('jc1_compact', compact)
redis.register_function('jc1_compact_end', compact_end)
redis.register_function('jc1_finish', finish)
redis.register_function('jc1_attend', attend)
redis.register_function('jc1_document', document)
redis.register_function('jc1_move', move)
redis.register_function('jc1_lease', lease)
redis.register_function('jc1_release', release)
redis.register_function('jc1_intend', intend)
