"""``jupyter collab doctor``: whether this machine is ready for an event, and what to do where it is not."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from jupyter_core.paths import jupyter_path
from jupyter_server.serverapp import list_running_servers
from rich.markup import escape

from jupyter_collab_ext import people_file
from jupyter_collab_ext.cli import proxy_probe, screen
from jupyter_collab_ext.cli.folders import STATE
from jupyter_collab_ext.cli.options import DEFAULT_ROOT, REDIS_VARIABLE
from jupyter_collab_ext.people import Roster
from notebook_sync import checkup
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

GOOD, WARNING, BAD = "good", "warning", "bad"
MARK = {GOOD: "[green]✓[/]", WARNING: "[yellow]![/]", BAD: "[red]✗[/]"}

GIB = 1024**3
LEAST_DISK, LITTLE_DISK = 1 * GIB, 5 * GIB
SERVER_MEMORY, KERNEL_MEMORY = 1 * GIB, GIB // 2
"""What the server and its helpers take with ten groups, and what a kernel with the usual packages does."""
OPEN_FILES = 4096
"""Seven people and a kernel in each of ten groups have about 700 sockets; kernels take ten files each."""
SLOW_FSYNC, SLOW_STORE = 0.1, 0.02
"""Seconds from which on people would notice."""
WANTED = {"jupyterlab": "4.6", "jupyter-server": "2.21", "jupyter-server-fileid": "0.9", "pycrdt": "0.14"}
"""The oldest versions that the tests run with."""
FRONT_END = ("@jupyter/collaboration-extension", "@jupyter/docprovider-extension")
SURVIVES = {
    "disk": (GOOD, "each edit is on its disk before it is acknowledged"),
    "redis": (GOOD, "a power loss can cost up to two seconds"),
    "memory": (WARNING, "it keeps nothing on disk"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do if it is not good."""

    what: str
    how: str
    said: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the event will be started with; None: as it was before, or the default."""

    root: Path
    state_dir: Path
    ip: str
    port: int
    public_url: str | None
    redis_url: str | None
    kernels: int


def doctor(
    root: Annotated[Path, typer.Option(help="The folder of the event.")] = Path(DEFAULT_ROOT),
    state_dir: Annotated[Path | None, typer.Option(help="ROOT/.collab if not given.")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="How people reach the server, if through a proxy.")
    ] = None,
    ip: Annotated[str | None, typer.Option(help="The address that the server listens on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port that the server listens on.")] = None,
    redis_url: Annotated[
        str | None, typer.Option(envvar=REDIS_VARIABLE, help="A Redis of yours.", show_envvar=True)
    ] = None,
    kernels: Annotated[
        int | None, typer.Option(help="Notebooks that run at once; a group's each if not given.")
    ] = None,
) -> None:
    """Look at Redis, versions, ports, disk, file system, memory and the proxy; exit code 1 if one is bad."""
    state = state_dir or root / STATE
    roster = _roster(state)
    server = roster.server if roster is not None else {}
    findings = examined(
        Asked(
            root=root,
            state_dir=state,
            ip=ip or server.get("ip") or "127.0.0.1",
            port=port or (roster.port if roster is not None else None) or 8888,
            public_url=public_url or server.get("public_url"),
            redis_url=redis_url,
            kernels=kernels or (len(roster.groups) if roster is not None else 0) or 1,
        )
    )
    worst = [tell(finding).how for finding in findings]
    if BAD in worst:
        raise typer.Exit(1)


def tell(finding: Finding) -> Finding:
    """Print one, and hand it on."""
    said = f"{MARK[finding.how]} {finding.what:<12} {escape(finding.said)}"
    screen.console.print(said, soft_wrap=True)
    if finding.do and finding.how != GOOD:
        screen.console.print(f"  {'':<12} [bold]→[/] {escape(finding.do)}", soft_wrap=True)
    return finding


def examined(asked: Asked) -> Iterator[Finding]:
    """Each finding as soon as it is known."""
    yield versions(importlib.metadata.version)
    yield front_end(jupyter_path("labextensions"))
    yield open_files()
    yield memory(_memory_free(), asked.kernels)
    yield from folder(asked.root, "folder")
    if asked.state_dir.resolve().parent != asked.root.resolve():
        yield from folder(asked.state_dir, "state folder")
    yield asyncio.run(redis(asked.redis_url))
    yield asyncio.run(reached(asked))


# --- this machine ------------------------------------------------------------------------------------


def versions(version: Callable[[str], str]) -> Finding:
    """Python and the packages; ``version`` finds a package's or raises ``PackageNotFoundError``."""
    found, old = [f"Python {sys.version.split()[0]}"], []
    for package, least in WANTED.items():
        try:
            have = version(package)
        except importlib.metadata.PackageNotFoundError:
            return Finding("versions", BAD, f"{package} is not installed", f"pip install {package}")
        found.append(f"{package} {have}")
        if _number(have) < _number(least):
            old.append(f"{package}>={least}")
    if old:
        wanted = " ".join(f"'{name}'" for name in old)
        return Finding("versions", WARNING, ", ".join(found), f"pip install -U {wanted}")
    return Finding("versions", GOOD, ", ".join(found))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])


def front_end(folders: list[str]) -> Finding:
    """Whether JupyterLab will find the collaborative front end in one of these folders."""
    missing = [name for name in FRONT_END if not any((Path(folder) / name).is_dir() for folder in folders)]
    if missing:
        return Finding(
            "front end", BAD, f"{', '.join(missing)} not found", "pip install 'jupyter-collab-ext[lab]'"
        )
    return Finding("front end", GOOD, "jupyter-collaboration's is installed")


def open_files() -> Finding:
    """How many files and sockets the server may have open; as many as the hard limit lets it raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        do = "raise it: LimitNOFILE=65536 in the systemd unit, or nofile in /etc/security/limits.conf"
        return Finding("open files", BAD, f"at most {hard}", do)
    if soft < OPEN_FILES:
        return Finding(
            "open files", WARNING, f"{soft} are allowed", f"run `ulimit -n {OPEN_FILES}` before start"
        )
    return Finding("open files", GOOD, f"{soft} are allowed")


def _memory_free() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def memory(free: int | None, kernels: int) -> Finding:
    """Whether what is free is enough for the server and a kernel for each notebook."""
    needed = SERVER_MEMORY + kernels * KERNEL_MEMORY
    plan = f"the server and {kernels} kernel{'s' if kernels > 1 else ''} take about {_gib(needed)}"
    if free is None:
        return Finding("memory", WARNING, "this system does not say how much is free", f"check it: {plan}")
    if free < needed:
        how = BAD if free < SERVER_MEMORY + kernels * KERNEL_MEMORY // 4 else WARNING
        do = f"{plan}: end other programs, take a bigger machine, or a server for each half of the groups"
        return Finding("memory", how, f"{_gib(free)} free", do)
    return Finding("memory", GOOD, f"{_gib(free)} free, {plan}")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GB"


def folder(path: Path, what: str) -> Iterator[Finding]:
    """Space, rights and what the file system can do, of a folder or where it will be made."""
    there = next(place for place in (path, *path.resolve().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    how = GOOD if free > LITTLE_DISK else WARNING if free > LEAST_DISK else BAD
    do = f"make room: versions and the store grow with the work, {_gib(LITTLE_DISK)} are comfortable"
    yield Finding("disk", how, f"{_gib(free)} free in {there}", do)
    try:
        missing, seconds = checkup.file_system(there)
    except OSError as error:
        said = f"files can't be made in {there} ({error.strerror})"
        yield Finding(
            what, BAD, said, "give the server's user the right to write there, or choose another --root"
        )
        return
    yield _file_system(there, what, missing, seconds)


def _file_system(there: Path, what: str, missing: list[str], seconds: float) -> Finding:
    if "locks" in missing or "rename" in missing:
        said = f"its file system lacks {' and '.join(missing)}"
        return Finding(
            what, BAD, said, "choose a --root on a local disk (ext4, xfs, apfs), or NFS 4 with locks"
        )
    if "exchange" in missing:
        said = "its file system can't exchange two names, so files are replaced with a small risk of a race"
        return Finding(
            what, WARNING, said, "choose a --root on ext4, xfs, btrfs or apfs if other programs write too"
        )
    if seconds > SLOW_FSYNC:
        said = f"an fsync takes {seconds * 1000:.0f} ms"
        return Finding(what, WARNING, said, "choose a --root on a local or faster disk")
    return Finding(what, GOOD, f"{there} can exchange, lock and rename")


# --- Redis -------------------------------------------------------------------------------------------


async def redis(url: str | None) -> Finding:
    """Whether the store would be taken as it is, and how fast it answers."""
    name = checkup.store_name(url)
    try:
        level, seconds = await checkup.store(url, "doctor", Limits())
    except ConfigError as error:
        return Finding("redis", BAD, str(error), "see docs/operations.md, or leave --redis-url out")
    how, survives = SURVIVES[level]
    said = f"{name} answers in {seconds * 1000:.1f} ms; {survives}"
    if seconds > SLOW_STORE:
        return Finding("redis", WARNING, said, "use one that is nearer: every edit waits for it")
    return Finding("redis", how, said, "set appendonly yes")


# --- the way in --------------------------------------------------------------------------------------


async def reached(asked: Asked) -> Finding:
    """Whether people reach the port, through the proxy if there is one."""
    running = running_server(asked.port)
    if asked.public_url is None:
        return await _direct(asked, running is not None)
    if running is None:
        found = await proxy_probe.look(asked.public_url, asked.ip, asked.port)
    else:
        found = await proxy_probe.look_at_running(asked.public_url, str(running.get("token", "")))
    if found.wrong:
        return Finding("public URL", BAD, f"{asked.public_url}: {found.wrong}", found.do)
    return Finding("public URL", GOOD, f"{asked.public_url} opens a websocket to port {asked.port}")


async def _direct(asked: Asked, running: bool) -> Finding:
    if running:
        return Finding("port", GOOD, f"a server of yours runs on port {asked.port}")
    try:
        async with proxy_probe.stand_in(asked.ip, asked.port, "/"):
            pass
    except OSError as error:
        do = "end what uses it, or choose another with --port (links then begin anew)"
        return Finding("port", BAD, f"port {asked.port} of {asked.ip}: {error.strerror}", do)
    return Finding("port", GOOD, f"port {asked.port} of {asked.ip} is free")


def running_server(port: int) -> dict[str, Any] | None:
    """What Jupyter notes of a server of this user's that runs on the port."""
    return next((dict(found) for found in list_running_servers() if found.get("port") == port), None)


def _roster(state_dir: Path) -> Roster | None:
    try:
        return people_file.load(state_dir)
    except ConfigError as error:
        tell(Finding("people", BAD, str(error), "restore it from a backup"))
        raise typer.Exit(1) from None
