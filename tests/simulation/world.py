"""A small world on one seed: clients, nodes with the real room, a store, a file, a network, a clock.

Nothing here waits: time is a number, and whatever takes time is an entry in one heap. Latencies, their
order across sockets, lost connections and the people's choices all come from one ``random.Random``, so
a seed replays exactly. The oracle (``World.check``) looks for unique tokens.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pycrdt import Array, Doc, Map, Text, TransactionEvent

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.ids import ConnectionId, Generation, Lineage, NodeId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.reconcile import Plan, plan
from notebook_sync.core.replica import Replica
from notebook_sync.core.roles import Member, Role
from notebook_sync.core.room import Room, RoomConfig

LIMITS = Limits(cleanup_delay=3.0, sweep_interval=1.0, compact_entries=20)


def cells_of(doc: Doc[Any]) -> list[tuple[str, str]]:
    """(id, source) of each cell, in order."""
    cells = doc.get("cells", type=Array)
    return [(str(cell["id"]), str(cell["source"])) for cell in cells]


def new_cell(cell_id: str, source: str) -> Map[Any]:
    return Map({"id": cell_id, "source": Text(source)})


@dataclass
class SimStore:
    """The log of one document, as the Redis functions keep it."""

    lineage: str | None = None
    generation: str | None = None
    snapshot: bytes = b""
    seq: int = 0
    chain: bytes = bytes(8)
    entries: list[ev.EntryArrived] = field(default_factory=list)
    numbers: dict[str, tuple[int, int, bytes]] = field(default_factory=dict)
    seeds: int = 0

    def opened(self) -> ev.Opened:
        assert self.lineage is not None
        assert self.generation is not None
        return ev.Opened(
            Lineage(self.lineage),
            Generation(self.generation),
            self.snapshot,
            tuple(self.entries),
            self.seq,
            self.chain,
        )

    def seed(self, lineage: str, generation: str, snapshot: bytes) -> bool:
        if self.generation is not None:
            return False
        self.lineage, self.generation, self.snapshot = lineage, generation, snapshot
        self.seeds += 1
        return True

    def append(self, node: NodeId, append: ef.Append) -> ev.EntryArrived | None:
        """The new entry; the old one for a batch sent again; None under another history."""
        if (append.lineage, append.generation) != (self.lineage, self.generation):
            return None
        last = self.numbers.get(node)
        if last is not None and last[0] == append.number:
            return ev.EntryArrived(append.generation, last[1], node, append.updates, last[2])
        self.seq += 1
        self.chain = hashlib.sha256(self.chain + node.encode() + b"".join(append.updates)).digest()[:8]
        entry = ev.EntryArrived(append.generation, self.seq, node, append.updates, self.chain)
        self.entries.append(entry)
        self.numbers[node] = (append.number, self.seq, self.chain)
        return entry

    def replay(self) -> Doc[Any]:
        """A document from the store's bytes alone."""
        replica = Replica(client_id=1)
        updates = [self.snapshot, *(update for entry in self.entries for update in entry.updates)]
        replica.apply(*updates)
        replica.unpark(updates)
        return replica.doc

    def compact(self) -> int:
        self.snapshot = self.replay().get_update()
        self.entries.clear()
        return self.seq


class Socket:
    """Two ordered ways between a client and a node; either end may cut it."""

    def __init__(self, world: World, client: Client, node: Node, number: ConnectionId) -> None:
        self.world, self.client, self.node, self.number = world, client, node, number
        self.open = True
        self._last_up = self._last_down = world.now

    def up(self, message: bytes) -> None:
        self._last_up = max(self._last_up, self.world.now + self.world.latency())
        self.world.at(self._last_up, lambda: self.node.received(self, message))

    def down(self, frame: bytes) -> None:
        self._last_down = max(self._last_down, self.world.now + self.world.latency())
        self.world.at(self._last_down, lambda: self.client.received(self, frame))

    def cut(self) -> None:
        if self.open:
            self.open = False
            self.client.socket = None
            self.world.at(self.world.now + self.world.latency(), lambda: self.node.left(self))


class Node:
    """A server process: the real room, with a shell of this world around it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.id = NodeId(name)
        self.room: Room | None = None
        self.sockets: dict[ConnectionId, Socket] = {}
        self.closes: list[tuple[int, str]] = []
        self._epoch = 0

    def connect(self, client: Client, lineage: str | None) -> Socket:
        socket = Socket(self.world, client, self, ConnectionId(next(self.world.numbers)))
        self.sockets[socket.number] = socket
        if self.room is None:
            self._open()
        self.post(
            ev.Joined(
                socket.number, client.member, frozenset({"stored"}), Lineage(lineage) if lineage else None
            )
        )
        return socket

    def _open(self) -> None:
        self._epoch += 1
        self.room = Room(
            RoomConfig(
                node=NodeId(f"{self.id}.{self._epoch}"),
                limits=LIMITS,
                new_client_id=lambda: self.world.rng.getrandbits(53),
                on_server_edit=lambda update: self.post(ev.ServerEdited(update)),
                path="work.ipynb",
            )
        )
        self._later(self._load)

    def _later(self, work: Callable[[], None]) -> None:
        """Do it after a while, unless the node crashed or its room ended meanwhile."""
        self._at(self.world.now + self.world.latency(), work)

    def _at(self, moment: float, work: Callable[[], None]) -> None:
        epoch = self._epoch

        def still_alive() -> None:
            if epoch == self._epoch:
                work()

        self.world.at(moment, still_alive)

    def _load(self) -> None:
        store = self.world.store
        if store.generation is not None:
            self.post(store.opened())
            return
        seed = self.world.seed_update()

        def write_seed() -> None:
            store.seed(self.world.hex(), self.world.hex(), seed)
            self.post(store.opened())

        self._later(write_seed)

    def received(self, socket: Socket, frame: bytes) -> None:
        if socket.open and socket.number in self.sockets:
            self.post(ev.MessageReceived(socket.number, wire.parse(frame, LIMITS), len(frame)))

    def left(self, socket: Socket) -> None:
        if self.sockets.pop(socket.number, None) is not None:
            self.post(ev.Left(socket.number))

    def crash(self) -> None:
        """kill -9: the room and everything in flight of this process are gone."""
        self._epoch += 1
        self.room = None
        for socket in list(self.sockets.values()):
            socket.open = False
            socket.client.socket = None
        self.sockets.clear()

    def post(self, event: ev.Event) -> None:
        if self.room is None:
            return
        for effect in self.room.handle(event, self.world.now):
            self._perform(effect)
        if self.room is not None and (deadline := self.room.deadline()) is not None:
            self._at(max(deadline, self.world.now), lambda: self._tick(deadline))

    def _tick(self, deadline: float) -> None:
        # Only the newest deadline counts; an older timer finds that the room has another by now.
        if self.room is not None and self.room.deadline() == deadline:
            self.post(ev.Tick())

    def _perform(self, effect: ef.Effect) -> None:  # noqa: C901 - one flat table of all effects
        match effect:
            case ef.Send():
                self._send((effect.connection,), effect.frame)
            case ef.Broadcast():
                self._send(effect.connections, effect.frame)
            case ef.Disconnect():
                self.closes.append((effect.code, effect.reason))
                if (socket := self.sockets.get(effect.connection)) is not None:
                    socket.cut()
            case ef.Append():
                self._later(lambda: self._append(effect))
            case ef.FetchEntries():
                self._later(lambda: self._fetch(effect))
            case ef.Load():
                self._later(lambda: self.post(self.world.store.opened()))
            case ef.Checkpoint():
                self._later(lambda: self._checkpoint(effect))
            case ef.Compact():
                self._later(lambda: self.post(ev.Compacted(self.world.store.compact())))
            case ef.Finish():
                self._epoch += 1
                self.room = None
            case ef.PublishAwareness() | ef.SaveAnswered() | ef.StateChanged() | ef.Report():
                pass

    def _send(self, connections: tuple[ConnectionId, ...], frame: bytes) -> None:
        for number in connections:
            if (socket := self.sockets.get(number)) is not None:
                socket.down(frame)

    def _append(self, append: ef.Append) -> None:
        assert self.room is not None
        if self.world.rng.random() < self.world.store_trouble:
            # Away, before or after it took the batch: the node can't tell.
            if self.world.rng.random() < 0.5:
                self._published(self.world.store.append(self._node(), append))
            self._later(lambda: self.post(ev.AppendFailed(append.number, "the store is away")))
            return
        entry = self.world.store.append(self._node(), append)
        self._published(entry)
        if entry is None:
            self._later(lambda: self.post(ev.HistoryChanged()))
        else:
            self._later(lambda: self.post(ev.BatchAppended(append.number, entry.seq, entry.chain)))

    def _node(self) -> NodeId:
        return NodeId(f"{self.id}.{self._epoch}")

    def _published(self, entry: ev.EntryArrived | None) -> None:
        for node in self.world.nodes:
            if (
                entry is not None
                and node.room is not None
                and self.world.rng.random() > self.world.channel_loss
            ):
                node._later(functools.partial(node.post, entry))

    def _fetch(self, fetch: ef.FetchEntries) -> None:
        store = self.world.store
        first = store.entries[0].seq if store.entries else store.seq + 1
        if fetch.generation != store.generation or fetch.seq + 1 < first:
            self.post(ev.LogRead((), trimmed=True))
        else:
            newer = tuple(entry for entry in store.entries if entry.seq > fetch.seq)
            self.post(ev.LogRead(newer, trimmed=False))

    def _checkpoint(self, checkpoint: ef.Checkpoint) -> None:
        world = self.world
        if world.rng.random() < world.disk_trouble:
            self.post(ev.CheckpointFailed("the disk is full"))
            return
        doc: Doc[Any] = Doc()
        doc.apply_update(checkpoint.state)
        content = json.dumps(cells_of(doc))
        if plan(base=world.base, document=content, file=world.file) is Plan.MERGE:
            raise AssertionError("nobody edits the file in this world")
        world.file = world.base = content
        world.last_saved = world.now
        self.post(ev.Checkpointed(checkpoint.position, hashlib.sha256(content.encode()).hexdigest()))


class Client:
    """A person's tab, as a stock front end behaves: one Y.Doc for its whole life, offline or not."""

    def __init__(self, world: World, name: str, role: Role) -> None:
        self.world, self.name = world, name
        self.member = Member(UserId(name), role, {"name": name})
        self.doc: Doc[Any] = Doc(client_id=world.rng.getrandbits(32))
        self.socket: Socket | None = None
        self.lineage: str | None = None
        self.sent = self.stored = 0
        self.unacknowledged: list[tuple[int, str]] = []
        self.acknowledged: set[str] = set()
        self._observing = self.doc.observe(self._changed)
        self._receiving = False
        self._typed: str | None = None

    def join(self) -> None:
        if self.socket is None:
            self.sent = self.stored = 0
            self.unacknowledged.clear()
            node = self.world.rng.choice(self.world.nodes)
            self.socket = node.connect(self, self.lineage)
            self.socket.up(wire.encode_sync_step1(self.doc.get_state()))

    def leave(self) -> None:
        if self.socket is not None:
            self.socket.cut()

    def received(self, socket: Socket, frame: bytes) -> None:
        if not socket.open:
            return
        if frame[0] == 2:
            self._told(json.loads(frame[frame.index(b"{") :]))
            return
        match wire.parse(frame, LIMITS):
            case wire.SyncStep1(state_vector=state_vector):
                self._send_sync(wire.encode_sync_step2(self.doc.get_update(state_vector)))
            case wire.SyncStep2(update=update) | wire.SyncUpdate(update=update):
                self._receiving = True
                self.doc.apply_update(update)
                self._receiving = False
                self.lineage = self.world.store.lineage
            case _:
                pass

    def _told(self, message: dict[str, object]) -> None:
        count = message["n"]
        assert isinstance(count, int)
        assert count <= self.sent
        assert count > self.stored
        self.stored = count
        while self.unacknowledged and self.unacknowledged[0][0] <= count:
            self.acknowledged.add(self.unacknowledged.pop(0)[1])

    def _send_sync(self, frame: bytes) -> None:
        assert self.socket is not None
        self.sent += 1
        self.socket.up(frame)

    def _changed(self, event: TransactionEvent) -> None:
        if not self._receiving and self.socket is not None:
            self._send_sync(wire.encode_update(event.update))
            if self._typed is not None:
                self.unacknowledged.append((self.sent, self._typed))

    def act(self) -> None:
        """Type a token, add a cell, or delete an own empty one."""
        cells = self.doc.get("cells", type=Array)
        if not len(cells) or self.member.role is Role.OBSERVER:
            return
        rng = self.world.rng
        token = self.world.token(self.name)
        self._typed = token
        if rng.random() < 0.25:
            cells.insert(rng.randint(0, len(cells)), new_cell(f"cell-{token}", token))
        else:
            text = cells[rng.randrange(len(cells))]["source"]
            # Between tokens only: a token cut in two by another is not lost, but not found either.
            spaces = [i for i, char in enumerate(str(text)) if char == " "]
            text.insert(rng.choice(spaces) if spaces else 0, f" {token}")
        self._typed = None
        self.world.typed.append(token)


@dataclass
class World:
    """Everything, on one seed."""

    seed: int
    clients_count: int = 7
    nodes_count: int = 1
    store_trouble: float = 0.0
    channel_loss: float = 0.0
    disk_trouble: float = 0.0
    slowest: float = 0.3

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.now = 0.0
        self.numbers = itertools.count(1)
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._tokens = itertools.count()
        self.store = SimStore()
        self.base: str | None = None
        self.file = json.dumps([[f"seed-{i}", f"seed{i}"] for i in range(3)])
        self.base = self.file
        self.last_saved = 0.0
        self.typed: list[str] = []
        self.nodes = [Node(self, f"node{i}") for i in range(self.nodes_count)]
        self.clients = [
            Client(self, f"p{i}", Role.TUTOR if i == 0 else Role.PARTICIPANT)
            for i in range(self.clients_count)
        ]

    def hex(self) -> str:
        return f"{self.rng.getrandbits(128):032x}"

    def latency(self) -> float:
        return self.rng.uniform(0.0, self.slowest) if self.rng.random() < 0.2 else self.rng.uniform(0.0, 0.01)

    def token(self, name: str) -> str:
        return f"<{name}.{next(self._tokens)}>"

    def seed_update(self) -> bytes:
        """The file as a document: other bytes each time, which is why it may be merged once only."""
        doc: Doc[Any] = Doc(client_id=self.rng.getrandbits(53))
        cells = doc.get("cells", type=Array)
        for cell_id, source in json.loads(self.file):
            cells.append(new_cell(cell_id, source))
        return doc.get_update()

    def at(self, moment: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (moment, next(self._order), work))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, work = heapq.heappop(self._heap)
            work()
        self.now = until

    def play(self, seconds: float, crash: float = 0.0, actions_per_second: float = 10.0) -> None:
        """People open, edit, leave and come back; nodes crash with probability ``crash`` per action."""
        end = self.now + seconds
        while self.now < end:
            client = self.rng.choice(self.clients)
            chance = self.rng.random()
            if client.socket is None and chance < 0.5:
                client.join()
            elif chance < 0.08:
                client.leave()
            else:
                client.act()
            if self.rng.random() < crash:
                self.rng.choice(self.nodes).crash()
            self.run(self.now + self.rng.expovariate(actions_per_second))

    def settle(self) -> None:
        """The weather clears, everybody comes back, and time passes until nothing is on its way."""
        self.store_trouble = self.channel_loss = self.disk_trouble = 0.0
        for client in self.clients:
            client.join()
        self.run(self.now + 60.0)

    def check(self) -> None:
        """Every token that was typed is exactly once in every copy and in the file; cells are unique."""
        copies = {client.name: client.doc for client in self.clients}
        copies["store"] = self.store.replay()
        for node in self.nodes:
            if node.room is not None:
                copies[node.id] = node.room.replica.doc
        reference = cells_of(copies["store"])
        for name, doc in copies.items():
            assert cells_of(doc) == reference, f"seed {self.seed}: {name} differs from the store"
        ids = [cell_id for cell_id, _ in reference]
        assert len(ids) == len(set(ids)), f"seed {self.seed}: doubled cells {ids}"
        text = " ".join(source for _, source in reference)
        for token in self.typed:
            assert text.count(token) == 1, f"seed {self.seed}: {token} is there {text.count(token)} times"
        file = [tuple(cell) for cell in json.loads(self.file)]
        assert file == reference, f"seed {self.seed}: the file is not the document"
        assert self.store.seeds == 1, f"seed {self.seed}: seeded {self.store.seeds} times"
