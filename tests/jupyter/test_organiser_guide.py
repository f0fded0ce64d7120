"""The organiser's guide is true: its files are good ones, and its commands do what it says, in its order."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from jupyter_collab_ext import cli
from jupyter_collab_ext.cli import start
from jupyter_collab_ext.cli.prepare import Event
from jupyter_collab_ext.links_file import write_links
from jupyter_collab_ext.people import Roster
from jupyter_collab_ext.people_file import load, save

GUIDE = (Path(__file__).parents[2] / "docs" / "organiser.md").read_text(encoding="utf-8")
NOT_RUN = ("jupyter collab doctor",)
"""Looks at this machine; it has tests of its own."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("console") for line in block.splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that an organiser types in, with the guide's own files; servers are not started."""
    [toml], [table] = blocks("toml"), blocks("csv")
    for folder in ("exercises", "big-data"):
        (tmp_path / folder).mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "exercises" / "work.ipynb")
    (tmp_path / "people.csv").write_text(table, encoding="utf-8")
    (tmp_path / "event.toml").write_text(toml, encoding="utf-8")

    def served(event: Event) -> None:
        roster = event.roster.with_base(event.base)
        save(roster, event.state_dir)
        write_links(roster, event.state_dir)

    monkeypatch.setattr(start, "run", served)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(line: str) -> None:
    program, collab, *words = shlex.split(line)
    assert (program, collab) == ("jupyter", "collab")
    outcome = CliRunner().invoke(cli.app, words)
    assert outcome.exit_code == 0, (line, outcome.output, outcome.exception)


def roster_of(desk: Path) -> Roster:
    roster = load(desk / "event" / ".collab")
    assert roster is not None
    return roster


def test_the_guide_from_its_first_command_to_its_last(desk: Path) -> None:
    seen: dict[str, Any] = {}
    for line in COMMANDS:
        if line.startswith(NOT_RUN):
            continue
        typed(line)
        if line.startswith("jupyter collab init"):
            os.replace(desk / "event.toml", desk / "hackathon.toml")
            continue
        if "--dry-run" in line:
            assert not (desk / "event").exists()
            continue
        people = {person.name: person for person in roster_of(desk).people.values()}
        seen[line] = people
    after = list(seen.values())
    assert after[0]["Ada Lovelace"].groups == ("Group-1", "Group-2")
    assert seen['jupyter collab add "Carl Neu" --group "Group 2"']["Carl Neu"].groups == ("Group-2",)
    assert seen['jupyter collab move "Carl Neu" "Group 1"']["Carl Neu"].groups == ("Group-1",)
    assert seen['jupyter collab relink "Bob Beispiel"']["Bob Beispiel"].invitation == 2
    assert seen['jupyter collab revoke "Carl Neu"']["Carl Neu"].revoked
    assert after[-1] == seen['jupyter collab revoke "Carl Neu"'], "after lunch it goes on as it was"
    assert roster_of(desk).base == "https://your.name/", "also without saying it again"


def test_the_guide_names_what_is_there(desk: Path) -> None:
    for line in COMMANDS:
        if not line.startswith(NOT_RUN):
            typed(line)
            if line.startswith("jupyter collab init"):
                os.replace(desk / "event.toml", desk / "hackathon.toml")
    root = desk / "event"
    listed = GUIDE[GUIDE.index("| below `event` |") :]
    for name in re.findall(r"^\| `([^`]+)`", listed, re.MULTILINE):
        if name != ".collab/people":  # made when somebody first opens a page
            assert (root / name).exists(), name
    assert (root / ".collab" / "originals" / "Group-1" / "work.ipynb").is_file()


def test_every_command_is_in_the_guide() -> None:
    told = set(re.findall(r"jupyter collab ([a-z]+)", GUIDE))
    assert {"init", "start", "links", "add", "move", "relink", "revoke"} <= told


@pytest.mark.parametrize("page", ["This link is not valid any more", "You are "])
def test_what_pages_say_is_what_the_guide_quotes(page: str) -> None:
    source = (Path(__file__).parents[2] / "jupyter_collab_ext" / "rest" / "join.py").read_text()
    assert page in source
    assert f"*{page}" in GUIDE
