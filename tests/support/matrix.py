"""The fault matrix: what became of people's work under each fault, as a table and as JSON.

``COLLAB_MATRIX=path`` has the tests write ``path`` (Markdown) and ``path`` with ``.json`` at their end.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix: the fault, how many servers share the folder, and their store."""

    name: str
    servers: int
    store: str

    def __str__(self) -> str:
        return f"{self.name} ({self.servers} server{'s' * (self.servers > 1)}, {self.store})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the work. Times are seconds.

    ``stored``: words that the server had acknowledged; ``lost_stored`` of them are missing in some copy.
    ``lost``: words missing that nobody had acknowledged, of tabs that lived on. ``doubled``: words or cells
    that stand somewhere twice. ``reloads``: how often the stock front end would have asked for one.
    ``converged``: from the end of the fault until all tabs, fresh joiners, the file and the store's replay
    were the same and whole. ``no_typing``: the longest that anybody could not type. ``unseen``: the longest
    until a key was seen by everybody else, people cut off included.
    """

    case: Case
    words: int
    stored: int
    lost_stored: int
    lost: int
    doubled: int
    reloads: int
    converged: float
    no_typing: float
    unseen: float
    wrong: str = ""

    @property
    def right(self) -> bool:
        """Nothing lost, doubled or different anywhere, and nobody sent away."""
        return not (self.lost_stored or self.lost or self.doubled or self.reloads or self.wrong)


COLUMNS = {
    "words": "words",
    "stored": "acknowledged",
    "lost_stored": "of these lost",
    "lost": "others lost",
    "doubled": "doubled",
    "reloads": "reloads",
    "converged": "s until all the same",
    "no_typing": "s without typing",
    "unseen": "s until seen, at most",
}


class Matrix:
    """All outcomes of a run, in the order they came."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Keep it, and say it now."""
        self.outcomes.append(outcome)
        print(json.dumps(asdict(outcome)))

    def markdown(self) -> str:
        """One row for each outcome."""
        head = ["fault", "servers", "store", *COLUMNS.values()]
        lines = [_row(head), _row(["---"] * 3 + ["---:"] * len(COLUMNS))]
        for one in self.outcomes:
            cells = [_shown(getattr(one, name)) for name in COLUMNS]
            lines.append(_row([one.case.name, str(one.case.servers), one.case.store, *cells]))
        return "\n".join(lines) + "\n"

    def write(self) -> None:
        """Write both forms where ``COLLAB_MATRIX`` says, if it does and there is anything."""
        target = os.environ.get("COLLAB_MATRIX")
        if target and self.outcomes:
            Path(target).write_text(self.markdown())
            rows = [asdict(one) | {"right": one.right} for one in self.outcomes]
            Path(target).with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: float | int) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


MATRIX = Matrix()
