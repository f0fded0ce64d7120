"""A kernel's socket for people who may only look: outputs come in, code does not get out."""

from __future__ import annotations

import json
from typing import Any, Literal

from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
)

from notebook_sync.core.roles import Action, may

V1 = "v1.kernel.websocket.jupyter.org"
HARMLESS = frozenset({"kernel_info_request", "comm_info_request", "history_request"})
"""Questions that a front end asks when it connects, and that change nothing.

JupyterLab learns from the answer to the last one that the kernel is idle; else it shows "Unknown".
"""


def _fits(message: bytes, width: int, order: Literal["little", "big"]) -> bool:
    count = int.from_bytes(message[:width], order)
    return count > 0 and width * (count + 1) <= len(message)


class ReadOnlyForObservers:
    """Mixed over the class of kernel connections."""

    websocket_handler: Any
    subprotocol: str | None

    def handle_incoming_message(self, incoming_msg: bytes | str) -> None:
        """Pass on what the person behind the socket may send; drop the rest without a word."""
        from jupyter_collab_ext.identity import member_of

        if not self._whole(incoming_msg):
            return
        role = member_of(self.websocket_handler).role
        if may(role, Action.RUN) or self._kind(incoming_msg) in HARMLESS:
            super().handle_incoming_message(incoming_msg)  # type: ignore[misc]  # mixin

    def _whole(self, message: bytes | str) -> bool:
        """Whether a message is as long as the table of offsets that it claims to begin with.

        Jupyter believes the claim: a message of 8 bytes makes it build a table of 2^64 entries.
        """
        if self.subprotocol == V1:
            return isinstance(message, bytes) and _fits(message, 8, "little")
        return isinstance(message, str) or _fits(message, 4, "big")

    def _kind(self, message: bytes | str) -> str | None:
        """The message's type in either wire format; None if it can't be read."""
        try:
            if self.subprotocol == V1:
                _, parts = deserialize_msg_from_ws_v1(message)
                header = json.loads(parts[0])
            elif isinstance(message, bytes):
                header = deserialize_binary_message(message)["header"]
            else:
                header = json.loads(message)["header"]
            return str(header["msg_type"])
        except Exception:  # noqa: BLE001 - whatever can't be read is not harmless
            return None
