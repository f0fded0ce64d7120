// Real Yjs for the tests: one JSON request a line on stdin, one JSON answer a line on stdout.
// A request is a list of calls, each {op, ...}; the answer is the list of their results, where a call
// that throws gives {error}. Bytes are base64. Documents live under names until they are dropped.
import { createInterface } from 'node:readline'
import * as encoding from 'lib0/encoding'
import * as decoding from 'lib0/decoding'
import * as awarenessProtocol from 'y-protocols/awareness'
import * as syncProtocol from 'y-protocols/sync'
import * as Y from 'yjs'

const docs = new Map()
const to64 = (bytes) => Buffer.from(bytes).toString('base64')
const from64 = (text) => new Uint8Array(Buffer.from(text, 'base64'))

// JSON with what JSON lacks: {"$": "undefined" | "bigint" | "bytes" | "float", v}.
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive)
  if (value === null || typeof value !== 'object') return value
  if (value.$ === 'undefined') return undefined
  if (value.$ === 'bigint') return BigInt(value.v)
  if (value.$ === 'bytes') return from64(value.v)
  if (value.$ === 'float') return Number(value.v)
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, revive(v)]))
}

const makers = {
  array: () => new Y.Array(),
  map: () => new Y.Map(),
  text: () => new Y.Text(),
  xmlElement: (name) => new Y.XmlElement(name),
  xmlFragment: () => new Y.XmlFragment(),
  xmlText: () => new Y.XmlText(),
  xmlHook: (name) => new Y.XmlHook(name),
  doc: () => new Y.Doc({ meta: { made: 'here' } })
}

// Positions are taken modulo what there is, so that any number is a valid one.
const at = (type, n) => n % (type.length + 1)
const cut = (type, n, length) => [n % type.length, Math.min(length, type.length - (n % type.length))]

const edits = {
  insert: (doc, root, n, text) => doc.getText(root).insert(at(doc.getText(root), n), text),
  delete: (doc, root, n, length) => {
    const text = doc.getText(root)
    if (text.length) text.delete(...cut(text, n, length))
  },
  format: (doc, root, n, length, attributes) => {
    const text = doc.getText(root)
    if (text.length) text.format(...cut(text, n, length), attributes)
  },
  embed: (doc, root, n, value) => doc.getText(root).insertEmbed(at(doc.getText(root), n), revive(value)),
  embedType: (doc, root, n) => doc.getText(root).insertEmbed(at(doc.getText(root), n), new Y.Map()),
  push: (doc, root, n, values) => doc.getArray(root).insert(at(doc.getArray(root), n), values.map(revive)),
  pull: (doc, root, n, length) => {
    const array = doc.getArray(root)
    if (array.length) array.delete(...cut(array, n, length))
  },
  nest: (doc, root, n, kind, name) => doc.getArray(root).insert(at(doc.getArray(root), n), [makers[kind](name)]),
  inner: (doc, root, n, text) => {
    const array = doc.getArray(root)
    const type = array.length ? array.get(n % array.length) : null
    if (type instanceof Y.Text) type.insert(0, text)
    else if (type instanceof Y.Map) type.set(text, text)
    else if (type instanceof Y.Array) type.push([text])
  },
  set: (doc, root, key, value) => doc.getMap(root).set(key, revive(value)),
  setType: (doc, root, key, kind, name) => doc.getMap(root).set(key, makers[kind](name)),
  unset: (doc, root, key) => doc.getMap(root).delete(key),
  xml: (doc, root, n, kind, name) => {
    const fragment = doc.getXmlFragment(root)
    fragment.insert(at(fragment, n), [makers[kind](name)])
  },
  attribute: (doc, root, n, key, value) => {
    const fragment = doc.getXmlFragment(root)
    const node = fragment.length ? fragment.get(n % fragment.length) : null
    if (node instanceof Y.XmlElement) node.setAttribute(key, value)
  }
}

// The text of a notebook document's cell.
const sourceOf = (doc, id) => {
  for (const cell of doc.getArray('cells')) if (cell.get('id') === id) return cell.get('source')
  throw new Error(`there is no cell ${id}`)
}

const kindOf = (struct) =>
  struct instanceof Y.GC ? 'GC' : struct instanceof Y.Skip ? 'Skip' : struct.content.constructor.name.replace(/^_/, '')

const pending = ({ pendingStructs, pendingDs }) => ({
  structs: pendingStructs && [...pendingStructs.missing],
  deletes: pendingDs !== null
})

const calls = {
  make: ({ doc, client, gc = true }) => {
    docs.get(doc)?.destroy()
    const made = new Y.Doc({ gc })
    if (client) made.clientID = client
    docs.set(doc, made)
    return { client: made.clientID }
  },
  drop: ({ doc }) => {
    docs.get(doc)?.destroy()
    return { dropped: docs.delete(doc) }
  },
  // Each edit [name, root, ...arguments] is a transaction of its own; the answer is their updates.
  edit: ({ doc, edits: list }) => {
    const updates = []
    const note = (update) => updates.push(to64(update))
    docs.get(doc).on('update', note)
    for (const [name, ...rest] of list) {
      docs.get(doc).transact(() => edits[name](docs.get(doc), ...rest))
    }
    docs.get(doc).off('update', note)
    return { updates }
  },
  apply: ({ doc, update }) => {
    Y.applyUpdate(docs.get(doc), from64(update))
    return pending(docs.get(doc).store)
  },
  text: ({ doc, root = 'text' }) => ({ text: docs.get(doc).getText(root).toString() }),
  json: ({ doc, root, type }) => ({ json: docs.get(doc).get(root, Y[type]).toJSON() }),
  pending: ({ doc }) => pending(docs.get(doc).store),
  stateVector: ({ doc }) => ({ stateVector: to64(Y.encodeStateVector(docs.get(doc))) }),
  encode: ({ doc, stateVector }) => ({
    update: to64(Y.encodeStateAsUpdate(docs.get(doc), stateVector ? from64(stateVector) : undefined))
  }),
  merge: ({ updates }) => ({ update: to64(Y.mergeUpdates(updates.map(from64))) }),
  diff: ({ update, stateVector }) => ({ update: to64(Y.diffUpdate(from64(update), from64(stateVector))) }),
  decode: ({ update }) => {
    const { structs, ds } = Y.decodeUpdate(from64(update))
    return {
      structs: structs.map((s) => [s.id.client, s.id.clock, s.length, kindOf(s)]),
      deletes: [...ds.clients].flatMap(([client, list]) => list.map((d) => [client, d.clock, d.len]))
    }
  },
  stateVectorOf: ({ update }) => ({
    clocks: [...Y.decodeStateVector(Y.encodeStateVectorFromUpdate(from64(update)))]
  }),
  decodeStateVector: ({ stateVector }) => ({ clocks: [...Y.decodeStateVector(from64(stateVector))] }),
  // A caret before or behind (assoc -1) what is at an index of a cell's text, as front ends share it.
  caret: ({ doc, cell, index, assoc = 0 }) => ({
    caret: to64(
      Y.encodeRelativePosition(Y.createRelativePositionFromTypeIndex(sourceOf(docs.get(doc), cell), index, assoc))
    )
  }),
  // Where a caret is now: the cell and the index, or null if the cell is gone.
  place: ({ doc, caret }) => {
    const place = Y.createAbsolutePositionFromRelativePosition(
      Y.decodeRelativePosition(from64(caret)), docs.get(doc)
    )
    if (place === null || place.type._item?.deleted || place.type.parent?._item?.deleted) return { place: null }
    return { place: [place.type.parent.get('id'), place.index] }
  },
  type: ({ doc, cell, index, text }) => {
    const updates = []
    const note = (update) => updates.push(to64(update))
    docs.get(doc).on('update', note)
    sourceOf(docs.get(doc), cell).insert(index, text)
    docs.get(doc).off('update', note)
    return { updates }
  },
  // Frames as y-websocket writes them.
  frame: ({ kind, doc, update, states = [] }) => {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, { awareness: 1, query: 3 }[kind] ?? 0)
    if (kind === 'step1') syncProtocol.writeSyncStep1(encoder, docs.get(doc))
    if (kind === 'step2') syncProtocol.writeSyncStep2(encoder, docs.get(doc))
    if (kind === 'update') syncProtocol.writeUpdate(encoder, from64(update))
    if (kind === 'awareness') {
      const awareness = new awarenessProtocol.Awareness(docs.get(doc))
      awareness.setLocalState(null)
      for (const [client, clock, state] of states) {
        awareness.meta.set(client, { clock, lastUpdated: 0 })
        if (state === null) awareness.states.delete(client)
        else awareness.states.set(client, state)
      }
      const clients = states.map(([client]) => client)
      encoding.writeVarUint8Array(encoder, awarenessProtocol.encodeAwarenessUpdate(awareness, clients))
      awareness.destroy()
    }
    return { frame: to64(encoding.toUint8Array(encoder)) }
  },
  // What y-websocket does with a frame: its answer, if it has one, and who is there afterwards.
  receive: ({ doc, frame }) => {
    const decoder = decoding.createDecoder(from64(frame))
    const encoder = encoding.createEncoder()
    const kind = decoding.readVarUint(decoder)
    encoding.writeVarUint(encoder, kind)
    if (kind === 0) {
      syncProtocol.readSyncMessage(decoder, encoder, docs.get(doc), 'oracle', (error) => { throw error })
    }
    const here = []
    if (kind === 1) {
      const awareness = new awarenessProtocol.Awareness(docs.get(doc))
      awareness.setLocalState(null)
      awarenessProtocol.applyAwarenessUpdate(awareness, decoding.readVarUint8Array(decoder), 'oracle')
      for (const [client, state] of awareness.states) here.push([client, awareness.meta.get(client).clock, state])
      awareness.destroy()
    }
    const json = kind === 2 ? decoding.readVarString(decoder) : null
    const answer = encoding.length(encoder) > 1 ? to64(encoding.toUint8Array(encoder)) : null
    return { answer, here, json }
  }
}

const attempt = (call) => {
  try {
    return calls[call.op](call)
  } catch (error) {
    return { error: String(error) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(JSON.parse(line).map(attempt)) + '\n')
}
