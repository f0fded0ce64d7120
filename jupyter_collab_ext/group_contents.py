"""Files of each group's own, mixed over the contents manager in people mode.

Whatever route a request takes (contents, checkpoints, nbconvert, /view/), it ends here. Managers call
themselves (a folder's model is made of its children's), so only the outermost call is checked; and a
synchronous manager must stay synchronous inside, so methods are plain functions that return a
coroutine only where a person asks. What is out of reach does not exist: 404.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp
from tornado import web

from jupyter_collab_ext.asking import reach_here
from jupyter_collab_ext.reach import Reach

READ_ONLY = "this folder is for everybody to read: copy the file into your group's folder to change it"
STAYS = "a group's folder stays where it is"

_inside: ContextVar[bool] = ContextVar("jupyter_collab_inside_contents", default=False)
"""Whether a call of a manager to itself is under way, which was checked when it began."""


class Checks:
    """What one person may do on one manager. Raise a 404, or a 403 for what may be read and not changed."""

    def __init__(self, manager: Any, reach: Reach) -> None:
        self._manager = manager
        self._reach = reach

    def sees(self, path: str) -> bool:
        """Whether the file or folder, links followed, may be read."""
        real = self._real(path)
        return self._reach.sees(path) and (real is None or self._reach.really(self._root, real))

    def look(self, path: str) -> None:
        """Read a file, or list a folder, at least in part."""
        if not self.sees(path) and not self._reach.passes(path):
            raise not_there(path)

    def change(self, path: str) -> None:
        """Write, rename or delete; make a file of this name."""
        self._writable(path, self._reach.changes(path))

    def fill(self, folder: str) -> None:
        """Make something new in a folder."""
        inside = self._reach.changes(f"{folder.strip('/')}/x".lstrip("/"))
        self._writable(folder, inside)

    def _writable(self, path: str, by_name: bool) -> None:
        if not self.sees(path):
            raise not_there(path)
        real = self._real(path)
        if not by_name or (real is not None and not self._reach.really_changes(self._root, real)):
            said = READ_ONLY if self._reach.only_looks(path) or by_name else STAYS
            raise web.HTTPError(403, said, reason="Forbidden")

    @property
    def _root(self) -> Path:
        return Path(self._manager.root_dir)

    def _real(self, path: str) -> str | None:
        """Where a path really lies; None if the manager has no folder on disk. Raises a 404."""
        to_disk = getattr(self._manager, "_get_os_path", None)
        if to_disk is None:
            return None
        try:
            return str(os.path.realpath(to_disk(path.strip("/"))))
        except (OSError, ValueError, web.HTTPError):
            raise not_there(path) from None

    def shown(self, model: Any) -> Any:
        """A model as the person may see it: of a folder only the entries in reach, and what is writable."""
        if not isinstance(model, dict):
            return model
        path = str(model.get("path") or "")
        if self._reach.only_looks(path):
            model["writable"] = False
        entries = model.get("content")
        if model.get("type") == "directory" and isinstance(entries, list):
            model["content"] = [self.shown(entry) for entry in entries if self._listed(entry)]
        return model

    def _listed(self, entry: Any) -> bool:
        path = str(entry.get("path") or "")
        try:
            return self.sees(path) or self._reach.passes(path)
        except web.HTTPError:
            return False


def not_there(path: str) -> web.HTTPError:
    """What is said of a file that does not exist, or that is out of reach."""
    return web.HTTPError(404, f"No such file or directory: {path[:200]}")


Check = Callable[[Checks], None]


class FilesApart:
    """Mixed over a contents manager class, in front of everything else."""

    # --- questions: what is out of reach is not there ------------------------------------------------

    def exists(self, path: str) -> Any:
        """As the manager's."""
        return self._whether("exists", path)

    def file_exists(self, path: str = "") -> Any:
        """As the manager's."""
        return self._whether("file_exists", path)

    def dir_exists(self, path: str) -> Any:
        """As the manager's."""
        return self._whether("dir_exists", path)

    def is_hidden(self, path: str) -> Any:
        """As the manager's; asked before nearly everything, so what is out of reach ends here."""
        return self._checked("is_hidden", lambda checks: checks.look(path), path)

    def resolve_path(self, path: str) -> Any:
        """As the manager's: None for what is out of reach."""
        original: Any = super().resolve_path  # type: ignore[misc]  # a mixin
        reach = reach_here()
        if reach.everything or _inside.get():
            return original(path)

        async def resolved() -> Any:
            found = await ensure_async(original(path))
            return found if isinstance(found, str) and Checks(self, reach).sees(found) else None

        return resolved()

    # --- reading -------------------------------------------------------------------------------------

    def get(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """As the manager's; of a folder only what is in reach."""
        return self._checked("get", lambda checks: checks.look(path), path, *args, **kwargs)

    def list_checkpoints(self, path: str) -> Any:
        """As the manager's."""
        return self._checked("list_checkpoints", lambda checks: checks.look(path), path)

    # --- writing -------------------------------------------------------------------------------------

    def save(self, model: Any, path: str = "") -> Any:
        """As the manager's."""
        return self._checked("save", lambda checks: checks.change(path), model, path)

    def delete(self, path: str) -> Any:
        """As the manager's."""
        return self._checked("delete", lambda checks: checks.change(path), path)

    def delete_file(self, path: str, *args: Any) -> Any:
        """As the manager's."""
        return self._checked("delete_file", lambda checks: checks.change(path), path, *args)

    def rename(self, old_path: str, new_path: str) -> Any:
        """As the manager's; out of one's own folder, or into another's, is refused."""
        return self._checked("rename", _both(old_path, new_path), old_path, new_path)

    def rename_file(self, old_path: str, new_path: str) -> Any:
        """As ``rename``."""
        return self._checked("rename_file", _both(old_path, new_path), old_path, new_path)

    def update(self, model: Any, path: str) -> Any:
        """As ``rename``: the model names the new path."""
        return self._checked("update", _both(path, str(model.get("path", path))), model, path)

    def new(self, model: Any = None, path: str = "") -> Any:
        """As the manager's."""
        return self._checked("new", lambda checks: checks.change(path), model, path)

    def new_untitled(self, path: str = "", *args: Any, **kwargs: Any) -> Any:
        """As the manager's."""
        return self._checked("new_untitled", lambda checks: checks.fill(path), path, *args, **kwargs)

    def copy(self, from_path: str, to_path: str | None = None) -> Any:
        """As the manager's; from what may be read to what may be written."""

        def check(checks: Checks) -> None:
            if not checks.sees(from_path):
                raise not_there(from_path)
            checks.fill(from_path.strip("/").rpartition("/")[0] if to_path is None else to_path)

        return self._checked("copy", check, from_path, to_path)

    def create_checkpoint(self, path: str) -> Any:
        """As the manager's."""
        return self._checked("create_checkpoint", lambda checks: checks.change(path), path)

    def restore_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """As the manager's."""
        return self._checked("restore_checkpoint", lambda checks: checks.change(path), checkpoint_id, path)

    def delete_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """As the manager's."""
        return self._checked("delete_checkpoint", lambda checks: checks.change(path), checkpoint_id, path)

    def trust_notebook(self, path: str) -> Any:
        """As the manager's."""
        return self._checked("trust_notebook", lambda checks: checks.change(path), path)

    # --- how -----------------------------------------------------------------------------------------

    def _checked(self, name: str, check: Check, *args: Any, **kwargs: Any) -> Any:
        original = getattr(super(), name)
        reach = reach_here()
        if reach.everything or _inside.get():
            return original(*args, **kwargs)
        return self._outermost(original, check, Checks(self, reach), args, kwargs)

    async def _outermost(
        self, original: Any, check: Check, checks: Checks, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        check(checks)
        token = _inside.set(True)
        try:
            return checks.shown(await ensure_async(original(*args, **kwargs)))
        finally:
            _inside.reset(token)

    def _whether(self, name: str, path: str) -> Any:
        original = getattr(super(), name)
        reach = reach_here()
        if reach.everything or _inside.get():
            return original(path)
        checks = Checks(self, reach)

        async def whether() -> bool:
            try:
                checks.look(path)
            except web.HTTPError:
                return False
            return bool(await ensure_async(original(path)))

        return whether()


def _both(old: str, new: str) -> Check:
    def check(checks: Checks) -> None:
        checks.change(old)
        checks.change(new)

    return check


def install(serverapp: ServerApp) -> None:
    """Put the mixin over the configured contents manager class; call before managers are made."""
    base: Any = serverapp.contents_manager_class
    serverapp.contents_manager_class = type(base)(
        base.__name__, (FilesApart, base), {"__module__": __name__, "__doc__": base.__doc__}
    )
