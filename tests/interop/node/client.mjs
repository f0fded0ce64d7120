// y-websocket providers on Yjs documents, steered by a test: one JSON object a line, in and out
// (the same protocol as drivers/rpc.py). Arguments: none.

import { createInterface } from "node:readline";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

console.log = console.error; // standard output carries answers only

class Socket extends WebSocket {
  // y-websocket knows the browser's WebSocket only, where nobody has to listen for "error".
  constructor(url, protocols) {
    super(url, protocols);
    this.on("error", (error) => console.error(`${error.message}`));
  }
}

let provider = null;
let doc = null;
let closes = [];

const calls = {
  connect({ server, room, params }) {
    doc = new Y.Doc();
    provider = new WebsocketProvider(server, room, doc, {
      params,
      WebSocketPolyfill: Socket,
      disableBc: true, // two providers in one process would talk past the server
      maxBackoffTime: 1000,
    });
    provider.on("connection-close", (event) => {
      if (event) closes.push({ code: event.code, reason: event.reason });
    });
  },
  status: () => ({ synced: provider.synced, connected: provider.wsconnected, closes, clientId: doc.clientID }),
  text: ({ name }) => doc.getText(name).toString(),
  insert: ({ name, at, text }) => doc.getText(name).insert(at, text),
  cells: () => doc.getArray("cells").toJSON(),
  insertInCell: ({ index, at, text }) => doc.getArray("cells").get(index).get("source").insert(at, text),
  addCell({ id, source }) {
    const cell = new Y.Map();
    doc.transact(() => {
      cell.set("id", id);
      cell.set("cell_type", "code");
      cell.set("source", new Y.Text(source));
      cell.set("metadata", new Y.Map());
      cell.set("outputs", new Y.Array());
      cell.set("execution_count", null);
      doc.getArray("cells").push([cell]);
    });
  },
  state: () => doc.getMap("state").toJSON(),
  setAwareness: ({ field, value }) => provider.awareness.setLocalStateField(field, value),
  awareness: () => Object.fromEntries([...provider.awareness.getStates()].map(([id, state]) => [String(id), state])),
  disconnect: () => provider.disconnect(),
  reconnect: () => provider.connect(),
  pending: () => doc.store.pendingStructs !== null,
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { answer: (await calls[request.call](request.with)) ?? null };
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
provider?.destroy();
process.exit(0);
