"""The folders of groups: filled once, and nothing that is there is ever copied over."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from jupyter_collab_ext.people import Group
from notebook_sync.core.errors import ConfigError

STATE = ".collab"
"""Below the root, hidden: keys, roster, originals, the embedded Valkey."""
ORIGINALS = "originals"
"""Below the state folder: each group's notebooks as they were given out, read-only."""
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


def check_notebooks(notebooks: Path) -> None:
    """Raises ``ConfigError`` for what is no folder with a notebook in it."""
    if not notebooks.is_dir():
        raise ConfigError(f"{notebooks} is no folder: name the folder of your notebooks with --notebooks")
    if not any(notebooks.rglob("*.ipynb")):
        raise ConfigError(f"there is no notebook in {notebooks}: name a folder that has one with --notebooks")


def to_give(folder: Path, notebooks: Path, given: tuple[str, ...]) -> list[Path]:
    """What of ``notebooks`` a group does not have and was never given: what it deleted stays deleted."""
    return [
        source
        for source in sorted(notebooks.iterdir())
        if not source.name.startswith((".", "__pycache__"))
        and source.name not in given
        and not os.path.lexists(folder / source.name)
    ]


def give(root: Path, state_dir: Path, group: Group, notebooks: Path) -> Group:
    """Copy what of ``notebooks`` is new to the group into its folder; the group as it has it then.

    What was copied and its originals are there whole or not at all. Raises ``ConfigError``.
    """
    folder = root / group.folder
    try:
        folder.mkdir(exist_ok=True)
        for source in to_give(folder, notebooks, group.given):
            _keep(source, state_dir / ORIGINALS / group.folder / source.name)
            _copy(source, folder / source.name)
            group = replace(group, given=(*group.given, source.name))
    except (OSError, shutil.Error) as error:
        raise ConfigError(f"{folder} can't be filled ({error}): check the rights of both folders") from error
    return group


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


def _keep(source: Path, target: Path) -> None:
    """Keep the notebooks that are or lie in ``source`` aside, read-only. An earlier original stays."""
    if source.is_dir():
        for each in sorted(source.iterdir()):
            if not each.name.startswith((".", "__pycache__")):
                _keep(each, target / each.name)
        return
    if source.suffix != ".ipynb" or target.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".new-{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o400)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_data(root: Path, name: str, data: Path) -> None:
    """Raises ``ConfigError`` when the data folder can't be shown below the root under ``name``."""
    link = root / name
    if not data.is_dir():
        raise ConfigError(f"{data} is no folder: correct data in the event file")
    real, base = data.resolve(), root.resolve()
    if real != base / name and (real == base or real in base.parents or base in real.parents):
        raise ConfigError(
            f"{data} and {root} lie in each other: name another folder for data, or with --root"
        )
    if os.path.lexists(link) and not link.is_symlink() and link.resolve() != real:
        raise ConfigError(f"{link} is in the way of the data folder: rename it")


def show_data(root: Path, name: str, data: Path) -> None:
    """Make the data folder appear below the root, without copying it. Raises ``ConfigError``."""
    check_data(root, name, data)
    link, real = root / name, data.resolve()
    if link.resolve() == real:
        return
    temporary = root / f".new-{secrets.token_hex(4)}"
    try:
        temporary.symlink_to(real, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(f"{link} can't be made ({error.strerror}): check the folder's rights") from error
