"""Python environments of the servers that ours is compared with, built on demand from pinned recipes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
BUILD_TIMEOUT = 900.0
"""Seconds for pip on a slow network."""


def peer_python(name: str) -> Path:
    """The interpreter of the environment with ``requirements/<name>.txt``, built when it is missing.

    Environments lie under ``$XDG_CACHE_HOME/jupyter-collab-ext/benchmarks``, named by a hash of the
    recipe. Raises ``subprocess.CalledProcessError`` with pip's own output on standard error.
    """
    recipe = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(recipe.read_bytes() + sys.version.encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = base / "jupyter-collab-ext" / "benchmarks" / f"{name}-{digest}"
    python = target / "bin" / "python"
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / ".complete").exists():
            shutil.rmtree(target, ignore_errors=True)
            _build(target, python, recipe)
            (target / ".complete").touch()
    return python


def _build(target: Path, python: Path, recipe: Path) -> None:
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(target)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(recipe)])
    else:
        _run([sys.executable, "-m", "venv", str(target)])
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(recipe)])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=BUILD_TIMEOUT, stdin=subprocess.DEVNULL)


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of ``packages`` in the environment of ``python``; absent ones are left out."""
    question = (
        "import sys; from importlib import metadata as m\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    answer = subprocess.run(
        [str(python), "-c", question, *packages], check=True, capture_output=True, text=True
    )
    pairs = (line.split() for line in answer.stdout.splitlines())
    return dict(pairs)
