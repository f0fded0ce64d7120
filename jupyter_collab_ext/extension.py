"""The Jupyter Server extension: traits, and what is put where before and after the web app exists.

Jupyter's order is: all extensions are linked, then managers, identity provider and web app are made,
then all are loaded, then the event loop runs and all are started. Classes of managers can only be
chosen between the first two, so linking wraps ``init_configurables``.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from jupyter_ydoc.ybasedoc import YBaseDoc
from traitlets import Bool, Bunch, Float, Int, Unicode, default, observe
from traitlets.config import Config

from jupyter_collab_ext import (
    alias,
    contents,
    events,
    gate,
    group_contents,
    group_kernels,
    group_pages,
    identity,
    pages,
    routing,
    sessions,
)
from jupyter_collab_ext.documents import Documents, RoomsByName
from jupyter_collab_ext.links import JOIN
from jupyter_collab_ext.metrics import PrometheusMetrics
from jupyter_collab_ext.notary import NotebookSigner
from jupyter_collab_ext.people_watch import PeopleWatch, follow
from jupyter_collab_ext.rest.absent import AbsentHandler
from jupyter_collab_ext.rest.join import JoinHandler
from jupyter_collab_ext.rest.session import SessionHandler
from jupyter_collab_ext.rest.status import StatusHandler
from jupyter_collab_ext.rest.versions import VersionsHandler
from jupyter_collab_ext.service import Service
from jupyter_collab_ext.settings import (
    adopt_stock_section,
    conceal,
    default_state_dir,
    environment,
    flag,
    sync_settings,
)
from jupyter_collab_ext.websocket import RoomHandler
from notebook_sync.app import LocalFiles, NotebookSync
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

SECRETS = ("redis_url",)
"""Traits whose values are never shown."""


class JupyterCollab(ExtensionApp):
    """Shared notebooks. Each trait is also set by ``--JupyterCollab.X`` and ``JUPYTER_COLLAB_X``."""

    name = "jupyter_collab_ext"
    app_name = "Shared notebooks"
    description = "Shared Jupyter notebooks, live, with Redis behind them."
    load_other_extensions = True

    redis_url = Unicode(
        help="""Where documents are stored: redis://, rediss:// or unix://, with user and password if
        needed. Empty: a Valkey server of our own in state_dir. Better given by JUPYTER_COLLAB_REDIS_URL,
        since a command line can be read by other users of the machine."""
    ).tag(config=True)
    state_dir = Unicode(help="The folder of keys, journals and the embedded Valkey's data.").tag(config=True)
    redis_level = Unicode(
        help="What Redis keeps, if it does not say so itself (CONFIG forbidden): redis or disk. memory also "
        "allows one without an append-only file, whose kill may take what was acknowledged."
    ).tag(config=True)
    namespace = Unicode(help="Servers with the same Redis and namespace share documents.").tag(config=True)
    document_save_delay = Float(
        allow_none=True, help="Seconds from the last edit until the file is written; None: never by itself."
    ).tag(config=True)
    save_ceiling = Float(help="Seconds from the first unsaved edit until the file is written.").tag(
        config=True
    )
    document_cleanup_delay = Float(
        allow_none=True, help="Seconds a document stays open after its last person left; None: for ever."
    ).tag(config=True)
    file_poll_interval = Float(
        help="Seconds between looks at an open document's file for changes by other programs; 0: never."
    ).tag(config=True)
    max_message_size = Int(help="Bytes of the largest websocket message taken from a client.").tag(
        config=True
    )
    disable_rtc = Bool(help="Whether JupyterLab's collaborative front end is switched off.").tag(config=True)
    server_side_execution = Bool(
        help="Whether JupyterLab asks the server to run cells; needs an extension that does."
    ).tag(config=True)
    people = Bool(
        help="Whether people log in by personal links and have roles; else Jupyter's own token and identity."
    ).tag(config=True)

    service: Service | None = None
    """Made before the managers."""
    on_started: Callable[[], None] | None = None
    """Called once, when the server answers and documents can be opened."""
    ywebsocket_server: RoomsByName | None = None
    """Open rooms by name, under the name that jupyter-mcp-server knows."""
    _documents: Documents | None = None
    _people_watch: PeopleWatch | None = None

    # --- defaults -----------------------------------------------------------------------------

    @default("redis_url")
    def _default_redis_url(self) -> str:
        return environment("redis_url", "", str)

    @default("state_dir")
    def _default_state_dir(self) -> str:
        return environment("state_dir", default_state_dir(), str)

    @default("redis_level")
    def _default_redis_level(self) -> str:
        return environment("redis_level", "", str)

    @default("namespace")
    def _default_namespace(self) -> str:
        return environment("namespace", "default", str)

    @default("document_save_delay")
    def _default_document_save_delay(self) -> float:
        return environment("document_save_delay", Limits().save_delay, float)

    @default("save_ceiling")
    def _default_save_ceiling(self) -> float:
        return environment("save_ceiling", Limits().save_ceiling, float)

    @default("document_cleanup_delay")
    def _default_document_cleanup_delay(self) -> float:
        return environment("document_cleanup_delay", Limits().cleanup_delay, float)

    @default("file_poll_interval")
    def _default_file_poll_interval(self) -> float:
        return environment("file_poll_interval", Limits().file_poll_interval, float)

    @default("max_message_size")
    def _default_max_message_size(self) -> int:
        return environment("max_message_size", Limits().max_message_size, int)

    @default("disable_rtc")
    def _default_disable_rtc(self) -> bool:
        return environment("disable_rtc", False, flag)

    @default("server_side_execution")
    def _default_server_side_execution(self) -> bool:
        return environment("server_side_execution", False, flag)

    @default("people")
    def _default_people(self) -> bool:
        return environment("people", False, flag)

    # --- before the web app -------------------------------------------------------------------

    @observe("config")
    def _config_changed(self, change: Bunch) -> None:
        self._conceal(change.new)
        super()._config_changed(change)

    def _conceal(self, config: Config) -> None:
        conceal(config, type(self).__name__, SECRETS, self.traits())

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Take the stock extension's place, and be there when managers are chosen."""
        self._conceal(serverapp.config)
        super()._link_jupyter_server_extension(serverapp)
        if alias.take_place(serverapp, self):
            self.log.info("jupyter_collab_ext serves shared documents in place of %s", alias.ALIAS)
        original: Callable[[], None] = serverapp.init_configurables

        def init_configurables() -> None:
            self._choose_classes(serverapp)
            original()

        serverapp.init_configurables = init_configurables  # type: ignore[method-assign]  # no other hook

    def _choose_classes(self, serverapp: ServerApp) -> None:
        # An error in an extension is only a warning to Jupyter, and the server would run without our
        # checks of who may do what. So it ends here.
        try:
            self._configure(serverapp)
        except ConfigError as error:
            serverapp.log.critical("%s", error)
            serverapp.exit(1)

    def _configure(self, serverapp: ServerApp) -> None:
        adopt_stock_section(self, serverapp.config, type(self).__name__)
        self.service = Service(serverapp, sync_settings(self, serverapp.root_dir), self._run_engine)
        self._documents = Documents(self.service)
        self.ywebsocket_server = RoomsByName(self._documents)
        if self.people:
            identity.install(serverapp, self)
        contents.install(serverapp, lambda: self.service)
        sessions.install(serverapp)
        if self.people:
            group_contents.install(serverapp)
            group_kernels.install(serverapp)
        self._exit_with_failure(serverapp)

    def _exit_with_failure(self, serverapp: ServerApp) -> None:
        original: Callable[[], None] = serverapp.start_ioloop

        def start_ioloop() -> None:
            original()
            if self.service is not None and self.service.failure is not None:
                serverapp.exit(1)

        serverapp.start_ioloop = start_ioloop  # type: ignore[method-assign]  # no other hook

    @contextlib.asynccontextmanager
    async def _run_engine(self, relay: events.EventRelay) -> AsyncIterator[NotebookSync]:
        assert self.serverapp is not None
        assert self.service is not None
        settings = self.service.settings
        signer = NotebookSigner(self.serverapp.contents_manager.notary)
        async with (
            LocalFiles(
                settings.root_dir, settings.limits, signer, self.service.file_replaced, self._shared_folders()
            ) as files,
            NotebookSync(settings, files, relay, PrometheusMetrics()) as sync,
        ):
            yield sync

    def _shared_folders(self) -> list[Path]:
        """Where the folder is that all groups see: below the root there is only a link to it."""
        assert self.serverapp is not None
        provider = self.serverapp.identity_provider
        if not isinstance(provider, identity.PeopleIdentityProvider) or not provider.roster.data:
            return []
        return [Path(self.serverapp.root_dir) / provider.roster.data]

    # --- the web app --------------------------------------------------------------------------

    def initialize_settings(self) -> None:
        """Be found under the stock extension's name, and register the event schemas."""
        assert self.serverapp is not None
        self.settings[alias.ALIAS] = self
        events.register(self.serverapp.event_logger)

    def initialize_handlers(self) -> None:
        """Routes, page config and handlers in the place of others."""
        assert self.serverapp is not None
        web_app = self.serverapp.web_app
        page_config = web_app.settings.setdefault("page_config_data", {})
        page_config.setdefault("disableRTC", self.disable_rtc)
        page_config.setdefault("serverSideExecution", self.server_side_execution)
        with_service = {"service": self.service}
        self.handlers.extend(
            [
                (r"/api/collaboration/room/(.*)", RoomHandler, with_service),
                (r"/api/collaboration/session/(.*)", SessionHandler, with_service),
                (r"/api/collaboration/status", StatusHandler, with_service),
                (r"/api/collaboration/versions/(?P<path>.+)", VersionsHandler, with_service),
                (r"/api/collaboration/(?:fork|timeline|undo_redo)/(.*)", AbsentHandler),
            ]
        )
        routing.substitute(web_app, pages.substitutes(self))
        router = routing.substitute(web_app, sessions.substitutes())
        if self.people:
            self.handlers.append((rf"/{JOIN}", JoinHandler))
            router.last_look = gate.shut_raw
            routing.substitute(web_app, group_pages.substitutes())
            pages.hide_token(web_app.settings)

    # --- start and stop -----------------------------------------------------------------------

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Start the engine. Requests are answered meanwhile and wait for it."""
        _stop_on_interrupt(serverapp)
        sessions.clean_terminals(serverapp.web_app.settings)
        if self.people:
            # Also from, and for, what was loaded after us.
            pages.hide_token(serverapp.web_app.settings)
            routing.substitute(serverapp.web_app, group_pages.substitutes())
        if self.service is not None:
            await self.service.start()
            if self.people:
                self._people_watch = follow(serverapp.identity_provider, self.service, Path(self.state_dir))
            if self.service.engine is not None and self.on_started is not None:
                self.on_started()

    async def stop_extension(self) -> None:
        """Save and stop. Jupyter calls this twice at once (the alias), and again on a second signal."""
        if self._people_watch is not None:
            self._people_watch.stop()
        if self.service is not None:
            await self.service.stop()

    def current_activity(self) -> list[str] | None:
        """The open documents with people in them: a server that has some does not shut down as idle."""
        engine = self.service.engine if self.service is not None else None
        return [status.key.path for status in engine.rooms() if status.people] if engine is not None else None

    # --- for other extensions -----------------------------------------------------------------

    async def get_document(
        self,
        *,
        path: str | None = None,
        content_type: str | None = None,
        file_format: str | None = None,
        room_id: str | None = None,
        copy: bool = True,
        create: bool = False,
    ) -> YBaseDoc | None:
        """A shared document for server code; see ``Documents.get``."""
        if self._documents is None:
            return None
        return await self._documents.get(
            path=path,
            content_type=content_type,
            file_format=file_format,
            room_id=room_id,
            copy=copy,
            create=create,
        )


def _stop_on_interrupt(serverapp: Any) -> None:
    # Without a terminal Jupyter leaves SIGINT to Python, and no extension is stopped.
    if threading.current_thread() is not threading.main_thread():
        return
    if sys.stdin is not None and sys.stdin.isatty():
        return
    handles_signals = signal.getsignal(signal.SIGTERM) == serverapp._signal_stop
    if handles_signals and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, serverapp._signal_stop)
