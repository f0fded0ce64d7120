"""The memory twin of the channel between nodes: messages arrive at once, in the order published."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable

from notebook_sync.adapters.memory_faults import Faults
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import AwarenessPublished, ChannelEvent, ChannelRestored

log = logging.getLogger(__name__)

Listener = Callable[[ChannelEvent], None]


class MemoryChannel:
    """The channels of one Redis. ``for_node`` gives a node's view of it."""

    def __init__(self) -> None:
        self._nodes: dict[DocumentId, dict[MemoryNodeChannel, Listener]] = defaultdict(dict)

    def for_node(self, node: NodeId) -> MemoryNodeChannel:
        """The channel as one node sees it."""
        return MemoryNodeChannel(self, node)

    def listen(self, document: DocumentId, node: MemoryNodeChannel, listener: Listener | None) -> None:
        """``listener`` hears of ``document`` from now on; None: no more."""
        if listener is None:
            self._nodes[document].pop(node, None)
        else:
            self._nodes[document][node] = listener

    def publish(self, document: DocumentId, event: ChannelEvent) -> None:
        """Tell every node that listens."""
        for node, listener in list(self._nodes[document].items()):
            node.hand(event, listener)

    def interrupt(self) -> None:
        """Every subscription was lost and is back, as after a restart of Redis."""
        for document in list(self._nodes):
            self.publish(document, ChannelRestored())


class MemoryNodeChannel:
    """See ``ports.Channel``. ``deaf``: what is published does not arrive; ``faults`` hit its calls."""

    def __init__(self, shared: MemoryChannel, node: NodeId) -> None:
        self.faults = Faults()
        self.deaf = False
        self._shared = shared
        self._node = node

    async def subscribe(self, document: DocumentId, listener: Listener) -> None:
        """See ``ports.Channel``."""
        await self.faults.before()
        self._shared.listen(document, self, listener)

    async def unsubscribe(self, document: DocumentId) -> None:
        """See ``ports.Channel``."""
        self._shared.listen(document, self, None)

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None:
        """See ``ports.Channel``."""
        await self.faults.before()
        self._shared.publish(document, AwarenessPublished(node, frame))

    def hand(self, event: ChannelEvent, listener: Listener) -> None:
        """Deliver one message, unless it is this node's own awareness."""
        if self.deaf or (isinstance(event, AwarenessPublished) and event.node == self._node):
            return
        try:
            listener(event)
        except Exception:
            log.exception("a listener could not take a message")
