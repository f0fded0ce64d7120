"""The token oracle: what became of everything that scripted people wrote.

Each person writes words that exist once in the world. So a word that is nowhere is lost, one that is
there twice is doubled, and one that its writer deleted must stay away: no knowledge of the merge
algorithm is needed to judge a server.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jupyter_collab_ext.simulated.notebook_edits import AnyDoc, CellContent, read_document, read_notebook

TOKEN = re.compile(r"[to][0-9]{1,4}x[0-9]{4}q")
"""Words of people (``t``) and of outputs (``o``): person number, then a number of that person."""


def token(kind: str, person: int, number: int) -> str:
    """The word ``number`` of ``person``; ``kind``: ``t`` typed, ``o`` output."""
    return f"{kind}{person}x{number:04}q"


@dataclass(slots=True)
class Written:
    """One word's life; times are the writer's ``time.monotonic()``. It is stored once the writer's client
    has ``edits`` of its edits stored."""

    token: str
    person: int
    finished: float
    deleted: float | None = None
    edits: int = 0


class TokenLog:
    """What all people of one notebook wrote and took away again."""

    def __init__(self) -> None:
        self._words: dict[str, Written] = {}
        self._excused: set[str] = set()

    def wrote(self, word: str, person: int, now: float, edits: int = 0) -> None:
        """``word`` is complete in its writer's document, with ``edits`` edits made there so far."""
        self._words[word] = Written(word, person, now, edits=edits)

    def deleted(self, word: str, now: float) -> None:
        """Its writer begins to take ``word`` away; unknown words are ignored."""
        if word in self._words:
            self._words[word].deleted = now

    def excuse(self, word: str) -> None:
        """``word`` may be there or not: its writer's tab died before anybody said that it is stored."""
        self._excused.add(word)
        self._words.pop(word, None)

    @property
    def excused(self) -> set[str]:
        """Words that may be in a copy or not."""
        return set(self._excused)

    @property
    def words(self) -> list[Written]:
        """All words in the order they were finished."""
        return list(self._words.values())

    @property
    def standing(self) -> set[str]:
        """Words that must be in every copy."""
        return {word.token for word in self._words.values() if word.deleted is None}

    @property
    def gone(self) -> set[str]:
        """Words that must be in no copy."""
        return {word.token for word in self._words.values() if word.deleted is not None}

    def missing(self, contents: Iterable[CellContent]) -> list[Written]:
        """Standing words that are not in ``contents``."""
        found = count_tokens(contents)
        return [word for word in self._words.values() if word.deleted is None and not found[word.token]]


def count_tokens(contents: Iterable[CellContent]) -> Counter[str]:
    """How often each word stands in sources and outputs."""
    counts: Counter[str] = Counter()
    for cell in contents:
        counts.update(TOKEN.findall(cell.source))
        for output in cell.outputs:
            counts.update(TOKEN.findall(output))
    return counts


@dataclass(slots=True)
class CopyVerdict:
    """What is wrong with one copy (a client's document, a fresh joiner's, a replay, the file)."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Words that look like somebody's but that nobody finished: halves, or another notebook's."""
    doubled_cells: list[str] = field(default_factory=list)
    difference: str = ""
    """Where this copy's cells differ from the first copy's; empty if they are the same."""
    unreadable: str = ""

    @property
    def right(self) -> bool:
        return self == CopyVerdict()


@dataclass(slots=True)
class Report:
    """The oracle's judgement over all copies of one notebook."""

    written: int
    deleted: int
    copies: dict[str, CopyVerdict]

    @property
    def right(self) -> bool:
        """Nothing lost, doubled or back from the dead, and all copies the same."""
        return all(verdict.right for verdict in self.copies.values())

    def lost(self) -> set[str]:
        """Words missing in at least one copy."""
        return {word for verdict in self.copies.values() for word in verdict.lost}

    def doubled(self) -> set[str]:
        """Words (and ids of cells) that are in one copy more than once."""
        return {
            word for verdict in self.copies.values() for word in (*verdict.doubled, *verdict.doubled_cells)
        }

    def __str__(self) -> str:
        lines = [
            f"{self.written} words written, {self.deleted} of them deleted again, {len(self.copies)} copies: "
            f"{len(self.lost())} lost, {len(self.doubled())} doubled"
        ]
        for name, verdict in self.copies.items():
            if not verdict.right:
                lines.append(f"  {name}: {_shortened(verdict)}")
        return "\n".join(lines)


def _shortened(verdict: CopyVerdict) -> str:
    parts: list[str] = []
    for name in ("lost", "doubled", "resurrected", "unknown", "doubled_cells"):
        words: list[str] = getattr(verdict, name)
        if words:
            parts.append(f"{len(words)} {name} ({' '.join(words[:5])}{' …' if len(words) > 5 else ''})")
    parts.extend(filter(None, (verdict.difference, verdict.unreadable)))
    return "; ".join(parts)


def judge(log: TokenLog, documents: Mapping[str, AnyDoc], files: Mapping[str, bytes] | None = None) -> Report:
    """Compare every copy with what was written. ``documents``: name to document; ``files``: name to
    the bytes of an ``.ipynb``. All must have settled. The first document is the one the others are
    compared with."""
    copies: dict[str, CopyVerdict] = {}
    first: list[CellContent] | None = None
    for name, doc in documents.items():
        contents = read_document(doc)
        first = contents if first is None else first
        copies[name] = _judge_copy(log, contents, first)
    for name, data in (files or {}).items():
        try:
            contents = read_notebook(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            copies[name] = CopyVerdict(unreadable=f"{type(error).__name__}: {error}")
            continue
        first = contents if first is None else first
        copies[name] = _judge_copy(log, contents, first)
    return Report(len(log.words), len(log.gone), copies)


def _judge_copy(log: TokenLog, contents: list[CellContent], first: list[CellContent]) -> CopyVerdict:
    counts = count_tokens(contents)
    standing, gone = log.standing, log.gone
    return CopyVerdict(
        lost=sorted(standing - counts.keys()),
        doubled=sorted(word for word, count in counts.items() if count > 1),
        resurrected=sorted(gone & counts.keys()),
        unknown=sorted(counts.keys() - standing - gone - log.excused),
        doubled_cells=sorted(id for id, count in Counter(cell.id for cell in contents).items() if count > 1),
        difference=first_difference(first, contents),
    )


def first_difference(expected: list[CellContent], found: list[CellContent]) -> str:
    """A sentence on the first cell that differs; empty if none does."""
    for number, (left, right) in enumerate(zip(expected, found, strict=False)):
        if left != right:
            return f"cell {number} differs: {left} / {right}"
    if len(expected) != len(found):
        return f"{len(found)} cells instead of {len(expected)}"
    return ""
