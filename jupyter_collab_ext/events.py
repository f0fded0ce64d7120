"""What happens to documents, on Jupyter's event bus, as jupyter-collaboration's clients expect it."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_events import EventLogger
from jupyter_events.schema_registry import SchemaRegistryException
from jupyter_server.serverapp import ServerApp

from notebook_sync.core.roles import Member

if TYPE_CHECKING:
    from jupyter_collab_ext.service import Service
    from notebook_sync.app import Told

log = logging.getLogger(__name__)

BASE = "https://schema.jupyter.org/jupyter_collaboration"
SESSION = f"{BASE}/session/v1"
AWARENESS = f"{BASE}/awareness/v1"
FORK = f"{BASE}/fork/v1"
LOBBY = "JupyterLab:globalAwareness"
SCHEMAS = Path(__file__).parent / "event_schemas"
SESSION_ACTIONS = frozenset({"initialize", "load", "save", "overwrite", "clean"})


def register(logger: EventLogger | None) -> None:
    """Make the schemas known; a schema that somebody else registered before us is left as it is."""
    if logger is None:
        return
    for path in sorted(SCHEMAS.glob("*.yaml")):
        try:
            logger.register_event_schema(path)
        except SchemaRegistryException:
            log.debug("the schema of %s is registered already", path.stem)


class EventRelay:
    """The engine's ``on_event``: it never raises and does not wait."""

    def __init__(self, serverapp: ServerApp, service: Service) -> None:
        self._serverapp = serverapp
        self._service = service
        self._in_lobby: Counter[str] = Counter()

    def __call__(self, told: Told) -> None:
        """Emit what the engine says of a document."""
        try:
            self._relay(told)
        except Exception:  # noqa: BLE001  # the engine must not suffer from a listener or a schema
            log.warning("an event of %s could not be emitted", told.key, exc_info=True)

    def _relay(self, told: Told) -> None:
        if told.kind == "moved":
            self._service.move_file_id(told.message, told.key.path)
            return
        room = self._service.room_name(told.key)
        if told.kind in ("join", "leave"):
            if told.member is not None:
                self._emit(AWARENESS, {"roomid": room, "username": told.member.user, "action": told.kind})
            return
        data: dict[str, Any] = {"level": _level(told.level), "room": room, "path": told.key.path}
        if told.kind in SESSION_ACTIONS:
            data["action"] = told.kind
        if told.message:
            data["msg"] = told.message
        self._emit(SESSION, data)

    def lobby_joined(self, member: Member) -> None:
        """A socket of the global awareness is open; only a person's first is an event."""
        self._in_lobby[member.user] += 1
        if self._in_lobby[member.user] == 1:
            self._emit(AWARENESS, {"roomid": LOBBY, "username": member.user, "action": "join"})

    def lobby_left(self, member: Member) -> None:
        """A socket of the global awareness is closed; only a person's last is an event."""
        self._in_lobby[member.user] -= 1
        if self._in_lobby[member.user] <= 0:
            del self._in_lobby[member.user]
            self._emit(AWARENESS, {"roomid": LOBBY, "username": member.user, "action": "leave"})

    def _emit(self, schema: str, data: dict[str, Any]) -> None:
        if self._serverapp.event_logger is not None:
            self._serverapp.event_logger.emit(schema_id=schema, data=data)


def _level(level: str) -> str:
    # The stock front end takes every WARNING for "the file is open in two views" and says so in a dialog.
    return "INFO" if level == "WARNING" else level
