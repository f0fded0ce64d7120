"""Kernels and sessions of each group's own, mixed over the managers in people mode.

A kernel belongs to the folder that it was started for, whatever its session is called later. One that
is started for a file that all groups read belongs to the group of who started it, so that nobody runs
code in another group's kernel; a file then has one kernel for each group.
"""

from __future__ import annotations

import inspect
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado import web

from jupyter_collab_ext.asking import reach_here
from jupyter_collab_ext.reach import Reach, cleaned
from notebook_sync.core.paths import within


def kernel_within(manager: Any, kernel_id: str, reach: Reach) -> bool:
    """Whether a kernel belongs to a folder that the person works in."""
    if reach.everything:
        return True
    home = manager.homes.get(kernel_id)
    return home is not None and any(within(home, folder) for folder in reach.folders)


def kernels_of(manager: Any, folder: str) -> int:
    """How many kernels run that belong to a group's folder."""
    return sum(within(home, folder) for kernel, home in manager.homes.items() if kernel in manager)


class KernelsApart:
    """Mixed over the kernel manager. ``homes``: kernel id -> the folder that it belongs to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.homes: dict[str, str] = {}

    async def start_kernel(self, **options: Any) -> Any:
        """Start a kernel, a person's in a folder of theirs. Raises a 404 for a kernel that is not theirs."""
        manager: Any = self
        reach = reach_here()
        known = options.get("kernel_id")
        if known is not None and known in manager and not kernel_within(manager, known, reach):
            raise web.HTTPError(404, f"Kernel does not exist: {known}")
        if not reach.everything and not reach.sees(options.get("path") or ""):
            options["path"] = reach.home
        where = cleaned(options.get("path") or "") or ""
        started = await super().start_kernel(**options)  # type: ignore[misc]  # mixin
        self.homes = {kernel: home for kernel, home in self.homes.items() if kernel in manager}
        self.homes.setdefault(started, reach.home if reach.only_looks(where) else where)
        return started

    def list_kernels(self) -> Any:
        """The kernels that whoever asks may use."""
        models = super().list_kernels()  # type: ignore[misc]  # mixin
        return self._awaited(models) if inspect.isawaitable(models) else self._usable(models)

    async def _awaited(self, models: Any) -> list[Any]:
        return self._usable(await models)

    def _usable(self, models: list[Any]) -> list[Any]:
        reach = reach_here()
        return [model for model in models if kernel_within(self, model["id"], reach)]


class SessionsApart:
    """Mixed over the session manager."""

    async def list_sessions(self) -> list[Any]:
        """The sessions whose kernels whoever asks may use."""
        manager: Any = self
        reach = reach_here()
        models = await super().list_sessions()  # type: ignore[misc]  # mixin
        return [m for m in models if kernel_within(manager.kernel_manager, m["kernel"]["id"], reach)]

    async def session_exists(self, path: Any) -> bool:
        """Whether the path has a session; a file that all groups read has one for each of them."""
        if isinstance(path, str) and reach_here().only_looks(path):
            return await self._own(path) is not None
        return bool(await super().session_exists(path=path))  # type: ignore[misc]  # mixin

    async def get_session(self, **asked: Any) -> Any:
        """A session by its id, or by its path as ``session_exists`` finds it."""
        path = asked.get("path")
        if isinstance(path, str) and reach_here().only_looks(path):
            model = await self._own(path)
            if model is not None:
                return model
        return await super().get_session(**asked)  # type: ignore[misc]  # mixin

    async def _own(self, path: str) -> Any:
        clean = cleaned(path)
        return next((m for m in await self.list_sessions() if m["path"].strip("/") == clean), None)


def install(serverapp: ServerApp) -> None:
    """Mix both over the configured classes, before they are made."""
    for trait, mixin in (
        ("kernel_manager_class", KernelsApart),
        ("session_manager_class", SessionsApart),
    ):
        base: Any = getattr(serverapp, trait)
        # Named as the base, so that configuration for it still applies.
        setattr(serverapp, trait, type(base.__name__, (mixin, base), {"__module__": __name__}))
