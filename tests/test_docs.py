"""The documents say what is: links lead somewhere, commands and settings exist, named tests are there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jupyter_collab_ext.extension import JupyterCollab

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
FAULTS = (ROOT / "docs" / "failure-table.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def anchors(document: Path) -> set[str]:
    """The names that a document's headings get when it is shown."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link}: there is no {target.relative_to(ROOT)}"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def defined(path: Path) -> set[str]:
    """Names of all functions and methods in a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_named_tests_are_there(document: Path) -> None:
    for path, test in re.findall(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`", document.read_text()):
        assert (ROOT / path).is_file(), path
        assert not test or test in defined(ROOT / path), f"{path}::{test}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_named_files_are_there(document: Path) -> None:
    places = (ROOT, ROOT / "server" / "notebook_sync", ROOT / "jupyter_collab_ext")
    for path in re.findall(
        r"`((?:core|engine|adapters|rest|server|docs)/[\w/.-]+\.\w+)`", document.read_text()
    ):
        assert any((place / path).is_file() for place in places), path


def test_each_fault_names_its_test() -> None:
    rows = re.findall(r"^\| (?!id|---|what was done).*\|$", FAULTS, re.MULTILINE)
    assert len(rows) > 50
    for row in rows:
        assert "::" in row or "*planned*" in row.lower(), row


def test_the_architecture_names_modules_that_exist() -> None:
    package = ROOT / "server" / "notebook_sync"
    for module in re.findall(r"`notebook_sync\.(\w+)`", ARCHITECTURE):
        assert (package / module).is_dir() or (package / f"{module}.py").is_file(), module
    for folder, module in re.findall(r"`(core|engine|adapters)\.(\w+)(?:\.\w+)*`", ARCHITECTURE):
        assert (package / folder / f"{module}.py").is_file(), f"{folder}.{module}"
    machines = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [^|]*\|$", ARCHITECTURE, re.MULTILINE)
    assert machines
    for module in re.findall(r"`(\w+)`", " ".join(machines)):
        assert (package / "core" / f"{module}.py").is_file(), module


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    for path in (ROOT / "docs" / "adr").glob("0*.md"):
        assert f"]({path.name})" in index, path.name
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings[:3] == ["Context", "Decision", "Consequences"], path.name


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets


@pytest.mark.parametrize("command", sorted(set(re.findall(r"jupyter collab ([a-z]+)", README))))
def test_commands_and_their_options_exist(command: str) -> None:
    program = [sys.executable, "-c", "from jupyter_collab_ext.cli import main; main()", command, "--help"]
    wide = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    shown = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60, env=wide)
    assert shown.returncode == 0, shown.stderr
    for line in re.findall(rf"jupyter collab {command}(.*)", README):
        for option in re.findall(r"--[a-z-]+", line):
            assert option in shown.stdout, f"jupyter collab {command} has no {option}"


def test_settings_exist() -> None:
    for trait, variable in re.findall(r"^\| `(\w+)` \| `(\w+)` \|", README, re.MULTILINE):
        assert trait in JupyterCollab.class_trait_names(config=True)
        assert variable == f"JUPYTER_COLLAB_{trait.upper()}"


def test_the_protocol_names_every_function_of_redis() -> None:
    library = (ROOT / "server" / "notebook_sync" / "adapters" / "functions.lua").read_text()
    assert set(re.findall(r"\bjc\d+_\w+", library)) == set(re.findall(r"\bjc\d+_\w+", PROTOCOL))


def test_the_protocol_names_every_close_code() -> None:
    sources = [*(ROOT / "server").rglob("*.py"), *(ROOT / "jupyter_collab_ext").glob("*.py")]
    codes = {
        code for path in sources for code in re.findall(r"^CLOSE_\w+ = (\d+)", path.read_text(), re.MULTILINE)
    }
    assert codes
    assert codes <= set(re.findall(r"^\| (\d+) \|", PROTOCOL, re.MULTILINE))
