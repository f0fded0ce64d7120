"""The project itself: who imports whom, what is shipped, and what must not be in the sources."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "server" / "notebook_sync"
JUPYTER = ROOT / "jupyter_collab_ext"

PURE = frozenset(
    {
        "__future__", "ast", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "difflib",
        "enum", "functools", "hashlib", "heapq", "hmac", "itertools", "json", "math", "operator", "re",
        "string", "struct", "types", "typing", "unicodedata", "zlib",
    }
)  # fmt: skip
"""What the core may import of the standard library: nothing that looks at the world, waits or rolls dice."""

FAMILIES = (
    {
        "redis_connection", "redis_client", "redis_calls", "redis_checks", "redis_store", "redis_names",
        "redis_snapshots", "redis_channel", "redis_lease", "redis_ledger", "redis_records",
    },
    {
        "memory_store", "memory_channel", "memory_faults", "memory_lease", "memory_ledger", "memory_files",
        "memory_copies", "memory_versions", "memory_local_ledger",
    },
    {"embedded_valkey", "valkey_process"},
    {"local_files", "exchange", "replaced_files", "moved_files"},
    {"local_copies", "local_index", "local_reader", "local_writer", "local_append", "local_journal"},
    {
        "notebook_codec", "codec_worker", "worker_process", "ydoc_form", "notebook_form", "notebook_merge",
        "notebook_writer", "text_view",
        "merge_base", "minimal_edits", "text_merge", "cell_identity", "cell_order", "merged_mark",
    },
)  # fmt: skip
"""Adapters that are one adapter in several modules."""
TOOLS = {"atomic_replace", "compaction", "exchange", "intents", "local_disk", "log_chain"}
"""Functions that several adapters use and that are no adapters themselves."""


def modules(folder: Path, package: str) -> list[str]:
    found = pkgutil.walk_packages([str(folder)], f"{package}.")
    return [package, *(module.name for module in found)]


@pytest.mark.parametrize("name", [*modules(ENGINE, "notebook_sync"), *modules(JUPYTER, "jupyter_collab_ext")])
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


def imports(path: Path) -> Iterator[str]:
    """All that a module imports, as full names; ``TYPE_CHECKING`` makes no difference."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ENGINE / "core").glob("*.py")), ids=lambda path: path.name)
def test_the_core_is_pure(path: Path) -> None:
    allowed = {*PURE, *({"pycrdt"} if path.name == "replica.py" else ())}
    strangers = {
        name
        for name in imports(path)
        if not name.startswith("notebook_sync.core.") and name.split(".")[0] not in allowed
    }
    assert not strangers, "the core imports the pure part of the standard library, and pycrdt in replica.py"


@pytest.mark.parametrize("path", sorted((ENGINE / "adapters").glob("*.py")), ids=lambda path: path.name)
def test_adapters_know_their_own_family_only(path: Path) -> None:
    prefix = "notebook_sync.adapters."
    known = {name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)}
    family = set[str]().union(*(family for family in FAMILIES if path.stem in family))
    assert known <= family | TOOLS, "see FAMILIES: another adapter is reached through its port"


# --- what is shipped ------------------------------------------------------------------------------


def built(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(built("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_source_file(wheel: set[str]) -> None:
    for folder in (ENGINE, JUPYTER):
        for path in folder.rglob("*"):
            inside = path.relative_to(folder.parent).as_posix()
            left_out = path.name == "ruff.toml" or {"__pycache__", ".ruff_cache"} & set(path.parts)
            assert path.is_dir() or left_out or inside in wheel, f"{inside} is not in the wheel"


@pytest.mark.parametrize(
    "name",
    [
        "notebook_sync/py.typed",
        "notebook_sync/adapters/functions.lua",
        "jupyter_collab_ext/py.typed",
        "jupyter_collab_ext/event_schemas/session.yaml",
        "jupyter_collab_ext/examples/hackathon/when-should-the-ferry-charge.ipynb",
    ],
)
def test_the_wheel_has_what_is_not_python(wheel: set[str], name: str) -> None:
    assert name in wheel


def test_the_wheel_switches_itself_on_and_names_its_licence(wheel: set[str]) -> None:
    endings = (
        ".data/data/etc/jupyter/jupyter_server_config.d/jupyter_collab_ext.json",
        "/licenses/LICENSE",
        "/entry_points.txt",
    )
    for ending in endings:
        assert any(name.endswith(ending) for name in wheel), ending


def test_the_wheel_has_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {re.sub(r"-[\d.]+(?=\.)", "", top) for top in tops} == {
        "notebook_sync",
        "jupyter_collab_ext",
        "jupyter_collab_ext.data",
        "jupyter_collab_ext.dist-info",
    }
    assert not [name for name in wheel if name.endswith((".pyc", "ruff.toml", "package.json"))]


def test_the_sdist_can_be_built_from(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py"}
    assert wanted <= names
    assert "docs/protocol.md" in names
    assert not [name for name in names if name.startswith(("var/", ".venv/", "benchmarks/results/"))]
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]


# --- what must not be in the sources --------------------------------------------------------------

SOURCES = (
    "*.py",
    "*.lua",
    "*.md",
    "*.toml",
    "*.yaml",
    "*.yml",
    "*.html",
    "*.js",
    "*.mjs",
    "*.json",
    "*.ipynb",
)
FORBIDDEN = {
    "the path of somebody's machine": re.compile(r"(?<![\w.])/(?:work|home/\w+|Users/\w+)/\w|/root/\w"),
    "an unfinished thought": re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"),
    "the number of an issue of ours": re.compile(r"\bissue \d", re.IGNORECASE),
    "an unsolved merge": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
    "the address of a package mirror": re.compile(r'"resolved": "https?://(?!registry\.npmjs\.org/)'),
    "an ignored type error without its code and a reason": re.compile(
        r"#\s*type:\s*ignore(?!\[[\w, -]+\]\s+#\s*\w)", re.MULTILINE
    ),
    "a lint exception without its code and a reason": re.compile(
        r"#\s*noqa(?!: [A-Z]+\d+(?:, ?[A-Z]+\d+)*\s+[-#(]+\s*\w)", re.MULTILINE
    ),
}


def sources() -> list[Path]:
    folders = ("benchmarks", "docs", "examples", "jupyter-config", "jupyter_collab_ext", "server", "tests")
    found = [path for folder in folders for kind in SOURCES for path in (ROOT / folder).rglob(kind)]
    found += [path for kind in SOURCES for path in ROOT.glob(kind)]
    left_out = {"node_modules", "results", "__pycache__"}
    return [path for path in found if not left_out & set(path.parts) and path != Path(__file__)]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_sources_hold_no(what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r}"
        for path in sources()
        for text in [path.read_text(errors="replace")]
        for match in FORBIDDEN[what].finditer(text)
    ]
    assert not found, "\n".join(found)
