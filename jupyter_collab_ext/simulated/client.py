"""One socket to one shared document, behaving as the stock front end's provider does.

Written from the public contract (docs/protocol.md): the session call, sync both ways, awareness,
save requests, acknowledgements for those who ask, and reconnecting with the same document.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pycrdt import Doc, Map, TransactionEvent
from tornado.httpclient import HTTPError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from jupyter_collab_ext.simulated import frames
from jupyter_collab_ext.simulated.browser import Browser, quote_path
from jupyter_collab_ext.simulated.own_edits import OwnEdits

GLOBAL_AWARENESS = "JupyterLab:globalAwareness"
MAX_OUTBOX = 100_000
"""Frames waiting for the socket; one more closes it, and the next sync carries everything."""
MAX_FRAME = 256 * 1024 * 1024
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 2.5
"""Seconds between tries to reconnect, doubling, as y-websocket has them."""
AWARENESS_RENEWAL = 15.0
"""Seconds after which a client repeats its awareness; y-protocols forgets it after 30."""
SILENCE = 30.0
"""Seconds without any message after which y-websocket drops a connection."""
OPEN_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class SharedSession:
    """The server's answer to the session call; ``created`` when it was made by this call (201)."""

    format: str
    type: str
    file_id: str
    session_id: str
    created: bool

    @property
    def room(self) -> str:
        return f"{self.format}:{self.type}:{self.file_id}"


@dataclass(frozen=True, slots=True)
class Close:
    """How a connection ended: close code (1006: without one) and reason, or the handshake's status."""

    code: int
    reason: str = ""
    handshake_status: int | None = None

    @property
    def final(self) -> bool:
        """A stock client does not try again by itself: 4400–4499, or a dialog for 1003."""
        return 4400 <= self.code <= 4499 or self.code == 1003


class SessionRefused(Exception):
    """The session call was answered with a status that is no success."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"session refused with status {status}: {body[:200]!r}")
        self.status = status


@dataclass(slots=True)
class Traffic:
    """What one client sent and received, over all of its connections."""

    connections: int = 0
    sent_frames: int = 0
    sent_bytes: int = 0
    received_frames: int = 0
    received_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    """Frames of the server that a stock client could not have read."""


async def request_session(
    browser: Browser, path: str, *, format: str = "json", type: str = "notebook"
) -> SharedSession:
    """Ask for the session of the file at ``path``; raises ``SessionRefused``, or ``OSError``
    without a server."""
    answer = await browser.request(
        "PUT", f"api/collaboration/session/{quote_path(path)}", body={"format": format, "type": type}
    )
    if answer.status not in (200, 201):
        raise SessionRefused(answer.status, answer.body)
    said = answer.json()
    assert isinstance(said, dict), said
    return SharedSession(
        said["format"], said["type"], said["fileId"], said["sessionId"], created=answer.status == 201
    )


class CollabClient:
    """A person's view of one shared document.

    Starts nothing by itself: await ``run()`` in a task of yours. ``doc`` is the client's replica; edit it
    at any time, also offline. Each transaction of yours is sent as one update, as the stock front end
    does for each key.

    ``user``: the awareness ``user`` field. ``wants``: extra side messages asked for in the room's URL
    (``stored``, ``role``). ``on_remote`` is called after each sync frame of the server was applied.
    """

    def __init__(
        self,
        browser: Browser,
        path: str,
        *,
        user: dict[str, object],
        format: str = "json",
        type: str = "notebook",
        wants: tuple[str, ...] = (),
        reconnect: bool = True,
        on_remote: Callable[[CollabClient], None] | None = None,
    ) -> None:
        self.browser = browser
        self.path = path
        self.doc: Doc[Map[object]] = Doc()
        self.session: SharedSession | None = None
        self.closes: list[Close] = []
        self.traffic = Traffic()
        self.peers: dict[int, dict[str, object]] = {}
        self.side_messages: list[dict[str, object]] = []
        self.sync_frames_sent = 0
        """Sync frames 1 (step 2) and 2 (update) sent on this connection: what ``stored`` counts."""
        self.stored = 0
        """How many of them the server said are stored."""
        self.own_edits = OwnEdits()
        self._kind = (format, type)
        self._wants = wants
        self._reconnect = reconnect
        self._on_remote = on_remote
        self._awareness: dict[str, object] = {"user": user}
        self._awareness_clock = 0
        self._saves: dict[int, asyncio.Future[str]] = {}
        self._save_number = 0
        self._outbox: asyncio.Queue[bytes] | None = None
        self._socket: ClientConnection | None = None
        self._applying = False
        self._closing = False
        self._named = False
        self._last_heard = 0.0
        self._synced = asyncio.Event()
        self._ended = asyncio.Event()
        self._settled = asyncio.Event()
        """Synced or ended: nothing more to wait for."""
        self._subscription = self.doc.observe(self._on_transaction)

    # --- what a caller asks ------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Connected, and the server's answer to this connection's step 1 is in ``doc``."""
        return self._synced.is_set()

    @property
    def ended(self) -> Close | None:
        """The close after which a stock client does not come back by itself, if there was one."""
        return self.closes[-1] if self._ended.is_set() and self.closes else None

    @property
    def reloads_forced(self) -> int:
        """How often the stock front end would have shown "Session expired" or closed the tab."""
        return sum(close.final for close in self.closes)

    async def until_synced(self, within: float) -> None:
        """Wait for the first, or after a lost connection the next, whole sync.

        Raises ``TimeoutError`` after ``within`` seconds, and ``ConnectionError`` when the server
        refused for good.
        """
        try:
            async with asyncio.timeout(within):
                await self._settled.wait()
        except TimeoutError as error:
            raise TimeoutError(
                f"{self.path}: not synced within {within} s; closes so far: {self.closes}"
            ) from error
        if not self._synced.is_set():
            raise ConnectionError(f"{self.path}: closed for good: {self.closes}")

    async def until_ended(self, within: float) -> Close:
        """Wait until the server closed for good and return how; ``TimeoutError`` after ``within`` seconds."""
        async with asyncio.timeout(within):
            await self._ended.wait()
        return self.closes[-1]

    async def save(self, within: float = 30.0) -> str:
        """Ask for a save: ``success``, ``skipped`` or ``failed``. Raises ``ConnectionError`` when offline."""
        if not self.synced:
            raise ConnectionError("offline: a save can't be asked for")
        self._save_number += 1
        number = self._save_number
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._saves[number] = answer
        self.send(frames.save_request(number))
        try:
            async with asyncio.timeout(within):
                return await answer
        finally:
            self._saves.pop(number, None)

    def set_awareness(self, name: str, value: object) -> None:
        """Set one field of the own awareness state and tell the others."""
        self._awareness[name] = value
        self._announce()

    def send(self, frame: bytes) -> bool:
        """Queue any frame as it is, well-formed or not; False when offline (then it is dropped)."""
        outbox = self._outbox
        if outbox is None:
            return False
        if outbox.full():
            self.traffic.faults.append("own outbox full: socket dropped")
            self.cut()
            return False
        outbox.put_nowait(frame)
        return True

    def cut(self) -> None:
        """Lose the connection without a close frame, as a Wi-Fi that goes away; ``run`` reconnects."""
        if self._socket is not None:
            self._socket.transport.abort()

    def die(self) -> None:
        """End as a killed process does: without a close frame, and never to come back."""
        self._closing = True
        self._end()
        self.cut()

    async def close(self) -> None:
        """Leave: a clean close of the socket, and ``run`` returns. The document stays readable."""
        self._closing = True
        self._end()
        if self._socket is not None:
            await self._socket.close()

    # --- connections -------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep connected until ``close()`` or a close that ends a stock client; back off between tries."""
        tries = 0
        try:
            while not self._closing:
                connected = self.traffic.connections
                await self._connect_once()
                if self._closing or not self._reconnect or (self.closes and self.closes[-1].final):
                    return
                tries = 0 if self.traffic.connections > connected else tries + 1
                await asyncio.sleep(min(FIRST_BACKOFF * 2**tries, LONGEST_BACKOFF))
        finally:
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._settled.set()

    async def _connect_once(self) -> None:
        try:
            if self.session is None and self.path != GLOBAL_AWARENESS:
                self.session = await request_session(
                    self.browser, self.path, format=self._kind[0], type=self._kind[1]
                )
            async with connect(
                self._socket_url(),
                additional_headers=self.browser.socket_headers(),
                origin=self.browser.origin,  # type: ignore[arg-type]  # a NewType of str in websockets
                max_size=MAX_FRAME,
                max_queue=None,
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=1.0,
                proxy=None,
            ) as socket:
                if not self._closing:
                    await self._converse(socket)
        except SessionRefused as refused:
            self.closes.append(Close(4404 if refused.status == 404 else 1006, str(refused), refused.status))
        except InvalidStatus as refused:
            self.closes.append(Close(1006, "handshake refused", refused.response.status_code))
        except (OSError, WebSocketException, HTTPError) as error:
            self.closes.append(Close(1006, f"{type(error).__name__}: {error}"))

    def _socket_url(self) -> str:
        params: dict[str, str] = {}
        room = GLOBAL_AWARENESS
        if self.session is not None:
            room = self.session.room
            params["sessionId"] = self.session.session_id
        if self._wants:
            params["collab"] = ",".join(self._wants)
        return self.browser.socket_url(f"api/collaboration/room/{room}", params)

    async def _converse(self, socket: ClientConnection) -> None:
        self.traffic.connections += 1
        self.sync_frames_sent = self.stored = 0
        self.own_edits.connected()
        self._last_heard = asyncio.get_running_loop().time()
        self._outbox = asyncio.Queue(MAX_OUTBOX)
        self._socket = socket
        try:
            self.send(frames.sync_step1(self.doc.get_state()))
            self._announce()
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._write(socket, self._outbox)),
                    tasks.create_task(self._keep_alive(socket)),
                ]
                await self._read(socket)
                for helper in helpers:
                    helper.cancel()
        finally:
            self._outbox = self._socket = None
            self._synced.clear()
            self._settled.clear()
            self.peers.clear()
            code, reason = socket.close_code, socket.close_reason
            if not self._closing:
                self.closes.append(Close(code or 1006, reason or ""))

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                self._last_heard = asyncio.get_running_loop().time()
                self.traffic.received_frames += 1
                self.traffic.received_bytes += len(message)
                if isinstance(message, str):
                    self.traffic.faults.append("text frame")
                else:
                    self._receive(message)
        except ConnectionClosed:
            return

    async def _write(self, socket: ClientConnection, outbox: asyncio.Queue[bytes]) -> None:
        try:
            while True:
                frame = await outbox.get()
                self.traffic.sent_frames += 1
                self.traffic.sent_bytes += len(frame)
                await socket.send(frame)
        except ConnectionClosed:
            return

    async def _keep_alive(self, socket: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(SILENCE / 10)
            if loop.time() - self._last_heard > SILENCE:
                socket.transport.abort()
                return
            if loop.time() - renewed >= AWARENESS_RENEWAL:
                renewed = loop.time()
                self._announce()

    # --- frames ------------------------------------------------------------------------------

    def _receive(self, message: bytes) -> None:
        try:
            frame = frames.decode(message)
        except frames.FrameError as error:
            self.traffic.faults.append(f"{error}: {message[:40].hex()}")
            return
        match frame:
            case frames.SyncStep1(state_vector):
                self._send_sync(frames.sync_step2(self.doc.get_update(state_vector)), everything=True)
            case frames.SyncStep2(update):
                self._apply(update)
                self._mark_synced()
            case frames.SyncUpdate(update):
                self._apply(update)
            case frames.AwarenessUpdate(entries):
                self._see_peers(entries)
            case frames.Raw(said):
                self._receive_side_message(said)

    def _mark_synced(self) -> None:
        if not self._synced.is_set():
            self._synced.set()
            self._settled.set()
            self._name_document()

    def _see_peers(self, entries: tuple[frames.PeerState, ...]) -> None:
        for entry in entries:
            if entry.state is None:
                self.peers.pop(entry.client, None)
            else:
                self.peers[entry.client] = entry.state

    def _receive_side_message(self, said: dict[str, object]) -> None:
        match said:
            case {"type": "stored", "n": int(n)}:
                self.stored = n
                self.own_edits.acknowledged(n, said.get("refused"))
            case {"type": "save", "responseTo": int(number), "status": str(status)}:
                answer = self._saves.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(status)
        self.side_messages.append(said)

    def _apply(self, update: bytes) -> None:
        if update == frames.EMPTY_UPDATE:
            return
        self._applying = True
        try:
            self.doc.apply_update(update)
        finally:
            self._applying = False
        if self._on_remote is not None:
            self._on_remote(self)

    def _on_transaction(self, event: TransactionEvent) -> None:
        if self._applying:
            return
        update = event.update
        if update == frames.EMPTY_UPDATE:
            return
        self.own_edits.made += 1
        if self._outbox is not None:
            self._send_sync(frames.sync_update(update))

    def _send_sync(self, frame: bytes, *, everything: bool = False) -> None:
        if self.send(frame):
            self.sync_frames_sent += 1
            self.own_edits.sent(self.sync_frames_sent, everything=everything)

    def _announce(self) -> None:
        self._awareness_clock += 1
        self.send(
            frames.awareness_update(
                [frames.PeerState(self.doc.client_id, self._awareness_clock, self._awareness)]
            )
        )

    def _name_document(self) -> None:
        # the stock provider writes this on its first sync, unasked: an update from everybody who joins
        if self.session is not None and not self._named:
            self._named = True
            self.doc.get("state", type=Map)["document_id"] = self.session.room


def initials(name: str) -> str:
    """The letters on a person's avatar."""
    return "".join(word[0].upper() for word in name.split()[:2]) or "?"


def plain_user(name: str, rng: random.Random) -> dict[str, object]:
    """An awareness ``user`` field as a stock client makes it from its identity; the server stamps its own."""
    return {
        "username": name.lower().replace(" ", "-"),
        "name": name,
        "display_name": name,
        "initials": initials(name),
        "avatar_url": None,
        "color": f"var(--jp-collaborator-color{rng.randint(1, 7)})",
    }
