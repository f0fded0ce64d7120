"""The folder of a group: made once, and nothing that is there is ever copied over."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from importlib.resources import files
from pathlib import Path

from notebook_sync.core.errors import ConfigError

STATE = ".collab"
"""Below the root, hidden: keys, roster, the embedded Valkey."""
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__")


def example() -> Path:
    """The example hackathon, as installed or as in a checkout."""
    installed = Path(str(files("jupyter_collab_ext"))) / "examples" / "hackathon"
    checkout = Path(__file__).parents[2] / "examples" / "hackathon"
    return installed if installed.is_dir() else checkout


def prepare_root(root: Path, state_dir: Path | None = None) -> Path:
    """Make ``root`` and its state folder; returns the latter. Raises ``ConfigError``."""
    state = state_dir or root / STATE
    for folder, mode, option in ((root, 0o777, "--root"), (state, 0o700, "--state-dir")):
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ConfigError(
                f"{folder} can't be used ({error.strerror}): name another folder with {option}"
            ) from error
    state.chmod(0o700)
    return state


def prepare_group(folder: Path, notebooks: Path) -> list[str]:
    """Copy what is in ``notebooks`` into the group's folder, less what is there; the copies' names.

    Raises ``ConfigError`` when there is nothing to copy, or it can't be copied.
    """
    if not notebooks.is_dir():
        raise ConfigError(f"{notebooks} is no folder: name the folder of your notebooks with --notebooks")
    copied: list[str] = []
    try:
        folder.mkdir(exist_ok=True)
        for source in sorted(notebooks.iterdir()):
            target = folder / source.name
            if source.name.startswith((".", "__pycache__")) or os.path.lexists(target):
                continue
            _copy(source, target)
            copied.append(source.name)
    except OSError as error:
        raise ConfigError(f"{folder} can't be filled ({error}): check the rights of both folders") from error
    if not any(folder.rglob("*.ipynb")):
        raise ConfigError(f"there is no notebook in {notebooks}: name a folder that has one with --notebooks")
    return copied


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: what a start that was interrupted left half done would never be made good."""
    temporary = target.with_name(f".new-{secrets.token_hex(4)}")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary, ignore=LEFT_OUT)
        else:
            shutil.copy2(source, temporary)
        temporary.rename(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
