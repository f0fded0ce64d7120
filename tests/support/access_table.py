"""The file ``docs/access-table.md``: written by tests when asked to, and held to what they measure."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.access import ACTORS

TABLE = Path(__file__).parents[2] / "docs" / "access-table.md"


def whose(folder: str) -> str:
    names = {"group-1": "own", "group-2": "other group's", "data": "everybody's", "elsewhere": "outside"}
    return names.get(folder, "-")


def write_or_compare(section: str, lines: list[str]) -> None:
    """Put a section into the file named by ``COLLAB_TABLE``; else hold the file in ``docs`` to it."""
    head = f"| {section.lower()} | whose | {' | '.join(ACTORS)} |\n|{' --- |' * (len(ACTORS) + 2)}"
    text = f"## {section}\n\n{head}\n" + "\n".join(sorted(lines)) + "\n"
    wanted = os.environ.get("COLLAB_TABLE")
    path = Path(wanted) if wanted else TABLE
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    before, found, after = old.partition(f"## {section}\n")
    rest = after[after.index("\n## ") + 1 :] if found and "\n## " in after else ""
    if wanted:
        path.write_text(f"{before.rstrip()}\n\n{text}" + (f"\n{rest}" if rest else ""), encoding="utf-8")
    else:
        assert text in old, (
            "docs/access-table.md is old: run this test with COLLAB_TABLE=docs/access-table.md"
        )
