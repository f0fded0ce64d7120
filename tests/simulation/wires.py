"""What lies between a simulated node and what it uses: a network to the store, a disk for files.

``Linked`` puts any port behind a link: each call becomes a request that takes time, may be lost, may be
carried out while its answer is lost, or long after its sender gave up, as with a real store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from notebook_sync.adapters.memory_channel import Listener, MemoryChannel, MemoryNodeChannel
from notebook_sync.core.errors import CollabError, StoreUnavailable
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import AwarenessPublished, ChannelEvent, ChannelRestored
from tests.simulation.loop import Process

if TYPE_CHECKING:
    from tests.simulation.engine_world import World

READS = frozenset({"find_document", "load", "since", "record", "document_id"})
"""Requests that an out-of-memory store still answers."""

INSTANT = 1e-6
"""Seconds between two messages on one connection, so that they stay in order."""


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a memory twin waited for something")


class StoreLink:
    """One node's connections to the store. ``cut``: none gets through."""

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.cut = False
        self.channels: list[NodeChannel] = []

    def restore(self) -> None:
        """The network is back; ``channel`` finds that it missed something."""
        self.cut = False
        for channel in self.channels:
            channel.restored()

    async def request(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Ask the store; raises what it raises, or ``StoreUnavailable`` when no answer comes in time."""
        world, loop = self.world, self.world.loop
        answer: asyncio.Future[Any] = loop.create_future()
        patience = loop.call_later(
            world.limits.append_timeout, _settle, answer, StoreUnavailable(f"no answer to {name}")
        )
        if self.cut or world.store.down:
            loop.call_later(world.latency(), _settle, answer, StoreUnavailable("refused"))
        else:
            loop.in_process(world.store.process, world.latency(), self._perform, name, work, answer)
        try:
            outcome = await answer
        finally:
            patience.cancel()
        if isinstance(outcome, CollabError):
            raise outcome
        return outcome

    def _perform(
        self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], answer: asyncio.Future[Any]
    ) -> None:
        """In the store."""
        world, store = self.world, self.world.store
        if self.cut or store.down or world.rng.random() < store.loses_requests:
            self._answer(answer, StoreUnavailable("the connection broke"))
            return
        if store.full and name not in READS:
            self._answer(answer, StoreUnavailable("out of memory"))
            return
        outcome: Any
        try:
            outcome = at_once(work())
        except CollabError as error:
            outcome = error
        world.note("store", name, type(outcome).__name__)
        if world.rng.random() < store.loses_answers:
            outcome = StoreUnavailable("the answer was lost")
        self._answer(answer, outcome)

    def _answer(self, answer: asyncio.Future[Any], outcome: Any) -> None:
        delay = self.world.latency() + self.world.store.slow
        self.world.loop.in_process(self.process, delay, _settle, answer, outcome)


def _settle(answer: asyncio.Future[Any], outcome: Any) -> None:
    if not answer.done():
        answer.set_result(outcome)


class Linked:
    """A port of the store, behind a link."""

    def __init__(self, link: StoreLink, twin: object) -> None:
        self._link = link
        self._twin = twin

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._twin, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._link.request(name, lambda: method(*args, **kwargs))

        return call


class OnDisk:
    """A port of the node's own machine (files, local copies): calls take a little time and are never lost.

    A killed node may have done the work and not know it.
    """

    def __init__(self, world: World, twin: object) -> None:
        self._world = world
        self._twin = twin

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._twin, name)
        if not callable(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._world.passing(self._world.rng.random() * 0.003)
            outcome = at_once(method(*args, **kwargs))
            self._world.note("disk", name)
            await self._world.passing(self._world.rng.random() * 0.003)
            return outcome

        return call


class NodeChannel(MemoryNodeChannel):
    """A node's subscription: in order, late, not at all while it is cut off, and now and then lost."""

    def __init__(self, shared: MemoryChannel, node: NodeId, link: StoreLink) -> None:
        super().__init__(shared, node)
        self._link = link
        link.channels.append(self)
        self._listeners: dict[DocumentId, Listener] = {}
        self._last = 0.0

    async def subscribe(self, document: DocumentId, listener: Listener) -> None:
        """See ``ports.Channel``."""
        await self._link.request("subscribe", lambda: MemoryNodeChannel.subscribe(self, document, listener))
        self._listeners[document] = listener

    async def unsubscribe(self, document: DocumentId) -> None:
        """See ``ports.Channel``."""
        self._listeners.pop(document, None)
        await super().unsubscribe(document)

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None:
        """See ``ports.Channel``."""
        await self._link.request(
            "publish", lambda: MemoryNodeChannel.publish_awareness(self, document, node, frame)
        )

    def hand(self, event: ChannelEvent, listener: Listener) -> None:
        """The store sends a message to this node."""
        world = self._link.world
        own = isinstance(event, AwarenessPublished) and event.node == self._node
        if own or self._link.cut or world.rng.random() < world.store.loses_messages:
            return
        self._later(lambda: listener(event))

    def restored(self) -> None:
        """The connection is back: whatever was said meanwhile was missed."""
        for listener in list(self._listeners.values()):
            self._later(lambda heard=listener: heard(ChannelRestored()))  # type: ignore[misc]  # a default binds it

    def gone(self) -> None:
        """The node is dead: the store drops its subscriptions."""
        for document in self._listeners:
            self._shared.listen(document, self, None)

    def _later(self, call: Callable[[], None]) -> None:
        loop = self._link.world.loop
        self._last = max(self._last + INSTANT, loop.time() + self._link.world.latency())
        loop.in_process(self._link.process, self._last - loop.time(), call)
