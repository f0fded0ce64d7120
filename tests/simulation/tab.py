"""A person's browser tab: one Y.Doc, the wire protocol, and the habits of a stock front end.

It asks for a session, opens a socket, syncs, and comes back by itself with the same session after
every interruption; what was typed meanwhile is sent with the next sync step 2.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pycrdt import Array, Doc, Map, Text, TransactionEvent

from notebook_sync.core import wire
from notebook_sync.core.ids import ClientId, UserId
from notebook_sync.core.roles import Member, Role
from notebook_sync.engine.connection import Connection
from tests.simulation.oracle import Deed, Token
from tests.simulation.wires import INSTANT

if TYPE_CHECKING:
    from tests.simulation.engine_world import World
    from tests.simulation.node import Server

UNKNOWN_SESSION = 1003
WANTS = frozenset({"stored", "status"})
PATIENCE = 6.0
"""Seconds after which a tab that is not connected tries anew."""


def new_cell(cell_id: str, source: str, number: str) -> Map[Any]:
    """A code cell as the front end makes it; ``number`` tells it from others of the same id."""
    return Map(
        {
            "id": cell_id,
            "cell_type": "code",
            "source": Text(source),
            "metadata": Map({"number": number}),
            "outputs": Array([]),
            "execution_count": None,
        }
    )


class Socket:
    """Two ordered ways between a tab and a server process; an ``engine.connection.Transport`` there."""

    def __init__(self, tab: Tab, server: Server) -> None:
        self.world = tab.world
        self.tab = tab
        self.server = server
        self.process = server.process
        self.open = True
        """As the tab knows."""
        self.accepted = False
        """The handshake is done, as the tab knows."""
        self.connection: Connection | None = None
        self._up_at = self._down_at = 0.0
        self._unread: list[bytes] | None = None
        self._when_drained: Callable[[], None] | None = None

    # --- the tab's end ------------------------------------------------------------------------

    def begin(self, session: str | None) -> None:
        self._up(lambda: self._accept(session))

    def send(self, frame: bytes) -> None:
        self.world.note("up", self.tab.name, len(frame))
        self._up(lambda: self._receive(frame))

    def cut(self, notices: bool = True) -> None:
        """The connection breaks: what is on its way is lost. ``notices``: the tab knows at once."""
        if self.open:
            self.open = False
            # Half open for a while, as after a lost packet: the server learns of it late.
            late = self.world.rng.random() < 0.15
            delay = self.world.rng.uniform(3.0, 20.0) if late else self.world.latency()
            self.world.loop.in_process(self.process, delay, self._server_notices)
            if notices:
                self.tab.disconnected(self, 1006)
            else:
                self.world.at(self.world.rng.uniform(1.0, 5.0), self.tab.disconnected, self, 1006)

    def stall(self) -> None:
        """The tab stops to read."""
        if self._unread is None:
            self._unread = []

    def resume(self) -> None:
        """The tab reads what came."""
        unread, self._unread = self._unread or [], None
        for frame in unread:
            self.write(frame)
        drained, self._when_drained = self._when_drained, None
        if drained is not None:
            self.world.loop.in_process(self.process, 0.0, drained)

    def _up(self, call: Callable[[], None]) -> None:
        loop = self.world.loop
        self._up_at = max(self._up_at + INSTANT, loop.time() + self.world.latency())
        loop.in_process(self.process, self._up_at - loop.time(), call)

    # --- the server's end ---------------------------------------------------------------------

    def _accept(self, session: str | None) -> None:
        sync = self.server.sync
        if not self.open or sync is None:
            self.close(1006, "nobody listens")
            return
        self._down(self._opened)
        self.connection = sync.connect(self.world.key, self, self.tab.member, session_id=session, wants=WANTS)

    def _opened(self) -> None:
        if self.open:
            self.accepted = True
            self.tab.opened(self)

    def _receive(self, frame: bytes) -> None:
        if self.open and self.connection is not None:
            self.connection.receive(frame)

    def _server_notices(self) -> None:
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.closed()

    def write(self, frame: bytes) -> None:
        """See ``Transport``."""
        if self._unread is not None:
            self._unread.append(frame)
            return
        self._down(lambda: self.tab.received(self, frame))
        if self.world.rng.random() < 0.02:
            self._down(lambda: self.tab.received(self, frame))  # sent twice

    @property
    def backlog(self) -> int:
        """See ``Transport``."""
        return sum(map(len, self._unread)) if self._unread else 0

    def when_drained(self, callback: Callable[[], None]) -> None:
        """See ``Transport``."""
        self._when_drained = callback

    def close(self, code: int, reason: str) -> None:
        """See ``Transport``."""
        self.world.note("close", self.tab.name, code, reason)
        self._down(lambda: self._closed(code, reason))

    def _closed(self, code: int, reason: str) -> None:
        if self.open:
            self.open = False
            self.world.loop.in_process(self.process, self.world.latency(), self._server_notices)
            self.tab.disconnected(self, code, reason)

    def server_died(self) -> None:
        """The process is gone; its system resets the connection."""
        if self.open:
            self.open = False
            self.world.at(self.world.latency(), self.tab.disconnected, self, 1006)

    def _down(self, call: Callable[[], None]) -> None:
        loop = self.world.loop
        self._down_at = max(self._down_at + INSTANT, loop.time() + self.world.latency())
        self.world.at(self._down_at - loop.time(), call)


class Tab:
    """See the module. ``offline``: its person has no network; ``closed``: for good."""

    def __init__(self, world: World, name: str, role: Role) -> None:
        self.world = world
        self.name = name
        self.member = Member(UserId(name), role, {"name": name})
        self.offline = True
        self.closed = False
        self.socket: Socket | None = None
        self.connected = False
        self.late = 0.0
        """Seconds by which the next update is late: what is typed after it overtakes it."""
        self.reloads = 0
        self._attempt = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        """A page that was just loaded: an empty document."""
        self.session: str | None = None
        self.doc: Doc[Any] = Doc(client_id=self.world.rng.getrandbits(32))
        self.cells: Array[Any] = self.doc.get("cells", type=Array)
        self.synced = False
        self.sent = 0
        self.acknowledged: dict[str, int] = {}
        """Of this socket's frames, for each level."""
        self._unacknowledged: deque[tuple[int, list[Deed]]] = deque()
        self._deeds: list[Deed] = []
        """Done here and not yet acknowledged, oldest first."""
        self._doing: list[Deed] = []
        self._receiving = False
        self._subscription = self.doc.observe(self._changed)

    # --- connecting ---------------------------------------------------------------------------

    def come(self) -> None:
        """Try to connect, if it should be and is not."""
        if self.offline or self.closed or self.socket is not None:
            return
        self._attempt += 1
        server = self.world.some_server(self)
        self.world.at(PATIENCE, self._impatient, self._attempt)
        if server is None:
            return
        if self.session is None:
            self.world.loop.in_process(
                server.process, self.world.latency(), self._ask_session, server, self._attempt
            )
        else:
            self._connect(server)

    def _impatient(self, attempt: int) -> None:
        if attempt == self._attempt and not self.connected:
            if self.socket is not None:
                self.socket.cut()
            else:
                self.come()

    def _ask_session(self, server: Server, attempt: int) -> None:
        """In the server's process: the session endpoint."""
        sync = server.sync
        if sync is not None:
            task = self.world.loop.create_task(sync.session_id(self.world.key))
            self.world.asking += 1
            task.add_done_callback(lambda done: self._answer_session(done, server, attempt))
            self.world.keep(task)

    def _answer_session(self, task: Any, server: Server, attempt: int) -> None:
        self.world.asking -= 1
        if task.cancelled() or task.exception() is not None:
            return  # a 503, or no answer at all: it asks again after a while
        self.world.at(self.world.latency(), self._has_session, task.result()[0], server, attempt)

    def _has_session(self, session: str, server: Server, attempt: int) -> None:
        if attempt == self._attempt and self.socket is None and not self.offline:
            self.session = self.session or session
            self._connect(server)

    def _connect(self, server: Server) -> None:
        self.sent = 0
        self.acknowledged = {}
        self._unacknowledged.clear()
        self.connected = False
        self.socket = Socket(self, server)
        self.socket.begin(self.session)

    def opened(self, socket: Socket) -> None:
        """The handshake is done: say what is here, and who."""
        if socket is self.socket:
            socket.send(wire.encode_sync_step1(self.doc.get_state()))
            me = wire.AwarenessEntry(ClientId(self.doc.client_id), self._attempt, json.dumps({"cursor": 1}))
            socket.send(wire.encode_awareness([me]))

    def go_offline(self) -> None:
        """The network is gone, or the lid is closed."""
        self.offline = True
        if self.socket is not None:
            self.socket.cut()

    def go_online(self) -> None:
        """The network is back."""
        self.offline = False
        self.come()

    def disconnected(self, socket: Socket, code: int, reason: str = "") -> None:
        """The socket is closed, by whomever."""
        if socket is not self.socket:
            return
        self.socket, self.connected = None, False
        self.world.note("disconnected", self.name, code, reason)
        if code == UNKNOWN_SESSION:
            self.world.oracle.forced_reload(self)
            self.reload()
        self.world.at(self.world.rng.uniform(0.05, 2.0), self.come)

    def reload(self) -> None:
        """F5: what was not acknowledged is gone with the page."""
        self.reloads += 1
        self.world.oracle.gone_with_page(self._deeds)
        if self.socket is not None:
            self.socket.cut()
        self._begin_anew()

    def close_for_good(self) -> None:
        """The page is closed; its person does not come back."""
        self.closed = True
        self.world.oracle.gone_with_page(self._deeds)
        if self.socket is not None:
            self.socket.cut()

    # --- frames -------------------------------------------------------------------------------

    def received(self, socket: Socket, frame: bytes) -> None:
        """A frame of the server."""
        if socket is not self.socket or not socket.open:
            return
        self.world.note("down", self.name, len(frame))
        if frame[0] == 2:
            self._told(json.loads(frame[frame.index(b"{") :]))
            return
        match wire.parse(frame, self.world.limits):
            case wire.SyncStep1(state_vector=state_vector):
                self._answer(state_vector)
            case wire.SyncStep2(update=update):
                self._take(update)
                self.synced = self.connected = True
            case wire.SyncUpdate(update=update):
                self._take(update)
            case _:
                pass

    def _answer(self, state_vector: bytes) -> None:
        """Sync step 2: all that is not acknowledged is in it, or was before it."""
        self._send_sync(wire.encode_sync_step2(self.doc.get_update(state_vector)), list(self._deeds))

    def _take(self, update: bytes) -> None:
        self._receiving = True
        self.doc.apply_update(update)
        self._receiving = False

    def _changed(self, event: TransactionEvent) -> None:
        if not self._receiving and self.socket is not None and self.socket.accepted:
            frame, socket, deeds = wire.encode_update(event.update), self.socket, self._doing
            chance = self.world.rng.random()
            late, self.late = self.late, 0.0
            if late or chance < 0.03:
                late = late or self.world.rng.uniform(0.1, 3.0)
                self.world.at(late, self._send_late, socket, frame, deeds)
                return
            self._send_sync(frame, deeds)
            if chance < 0.05:
                self._send_sync(frame, [])  # the same update twice

    def _send_late(self, socket: Socket, frame: bytes, deeds: list[Deed]) -> None:
        if socket is self.socket and socket.open:
            self._send_sync(frame, deeds)

    def _send_sync(self, frame: bytes, deeds: list[Deed]) -> None:
        assert self.socket is not None
        self.sent += 1
        self._unacknowledged.append((self.sent, deeds))
        self.socket.send(frame)

    def _told(self, message: dict[str, Any]) -> None:
        if message["type"] != "stored":
            return
        count, refused = message["n"], message["refused"]
        level = message["level"]
        self.world.oracle.heard_count(self, level, count)
        self.acknowledged[level] = count
        while self._unacknowledged and self._unacknowledged[0][0] <= count:
            number, deeds = self._unacknowledged.popleft()
            if number in refused:
                continue
            self.world.oracle.acknowledge(deeds, level)
        self._deeds = [deed for deed in self._deeds if deed.acknowledged is None]

    @property
    def settled(self) -> bool:
        """Whether all that it sent is acknowledged."""
        here = self.connected and self.socket is not None and self.socket.open
        return self.closed or (here and not self._unacknowledged and not self._deeds)

    # --- people -------------------------------------------------------------------------------

    def do(self, deed: Deed, work: Callable[[], None]) -> None:
        """Something that a person does in one step."""
        self._deeds.append(deed)
        self._doing = [deed]
        work()
        self._doing = []
        self.world.note("does", self.name, deed.text)

    def act(self) -> None:
        """Type a token, add a cell, or move or delete an own one."""
        if not self.synced or self.closed or self.member.role is Role.OBSERVER:
            return
        rng, count = self.world.rng, len(self.cells)
        choice = rng.random()
        if count == 0 or choice < 0.12:
            self._insert_cell(rng.randint(0, count))
            return
        index = rng.randrange(count)
        cell = self.cells[index]
        if choice < 0.24 and str(cell["id"]).startswith(f"{self.name}-"):
            self._take_away(index, cell, moves=choice < 0.18)
        else:
            self._type(cell)

    def _insert_cell(self, index: int) -> None:
        number = self.world.oracle.new_number()
        token = self.world.oracle.token(self.name, number)
        cell = new_cell(f"{self.name}-{number}", token.text, number)
        self.do(token, lambda: self.cells.insert(index, cell))

    def _type(self, cell: Map[Any]) -> None:
        text: Text = cell["source"]
        source = str(text)
        token = self.world.oracle.token(self.name, cell_number(cell))
        # Between tokens only: one that is cut in two by another is not lost, but is not found either.
        places = [0, *(i for i, char in enumerate(source) if char in " \n")]
        place = self.world.rng.choice(places)
        before = self.world.rng.choice((" ", "\n")) if place else ""
        written = f"{before}{token.text}" if place else f"{token.text} "
        self.do(token, lambda: text.insert(place, written))

    def _take_away(self, index: int, cell: Map[Any], moves: bool) -> None:
        """Delete the cell; with ``moves`` put a copy elsewhere, as the front end moves cells."""
        oracle = self.world.oracle
        number, source = cell_number(cell), str(cell["source"])
        seen = oracle.tokens_in(source)
        deed = Deed(f"{'moves' if moves else 'deletes'} {cell['id']}", self.name)
        new = oracle.new_number()
        moved = new_cell(str(cell["id"]), source, new) if moves else None

        def work() -> None:
            with self.doc.transaction():
                del self.cells[index]
                if moved is not None:
                    self.cells.insert(self.world.rng.randint(0, len(self.cells)), moved)

        oracle.taken_away(number, seen, deed, new if moves else None)
        self.do(deed, work)


def cell_number(cell: Map[Any]) -> str:
    """Which of the cells that ever had this id it is."""
    return str(cell["metadata"].get("number"))


__all__ = ["Deed", "Socket", "Tab", "Token", "cell_number", "new_cell"]
