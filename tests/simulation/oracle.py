"""What must be true of a world, told from outside: unique tokens, and what people did with them.

A token is typed once. From then on it may be nowhere twice, and at the end it must be everywhere once,
unless somebody took its cell away, or a notice names a version that has it, or its page was closed
before the server had acknowledged it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nbformat
from pycrdt import Array, Doc

from notebook_sync.core.replica import Replica
from notebook_sync.ports import Loaded

if TYPE_CHECKING:
    from tests.simulation.engine_world import World
    from tests.simulation.tab import Tab

TOKEN = re.compile(r"<\w+\.\d+>")
Cells = list[tuple[str, str, str]]
"""(id, number, source) of each cell, in order."""


class Violation(AssertionError):
    """A promise is broken; the message says which and where."""


@dataclass(eq=False)
class Deed:
    """Something that a person did to the document in one step. ``void``: its page went before the server
    acknowledged it, so it may have happened or not."""

    text: str
    by: str
    acknowledged: str | None = None
    void: bool = False


@dataclass(eq=False)
class Token(Deed):
    """A piece of text; ``home`` is the number of the cell that it should be in."""

    home: str = ""
    acknowledged_at: float = math.inf


def cells_of(doc: Doc[Any]) -> Cells:
    """The cells of a notebook document."""
    return [_cell(cell) for cell in json.loads(str(doc.get("cells", type=Array)))]


def _cell(cell: dict[str, Any]) -> tuple[str, str, str]:
    source = cell["source"]
    text = source if isinstance(source, str) else "".join(source)
    return cell["id"], str(cell["metadata"].get("number", "")), text


def cells_in_file(data: bytes) -> Cells:
    """The cells of a notebook file."""
    return [_cell(cell) for cell in json.loads(data)["cells"]]


@dataclass
class Oracle:
    """Hears of everything that people do, and judges."""

    world: World
    tokens: dict[str, Token] = field(default_factory=dict)
    taken: dict[str, Deed] = field(default_factory=dict)
    """Numbers of cells that were deleted, or moved and so exist anew under another number."""
    seen_by_deleter: set[str] = field(default_factory=set)
    """Tokens that another program saw in a cell which it deleted in the file."""
    deleted_in_file: dict[str, float] = field(default_factory=dict)
    """When it did that, by the cell's number: what is typed into the cell meanwhile may go with it."""
    notices: list[str] = field(default_factory=list)
    _numbers: int = 0

    # --- what people do -----------------------------------------------------------------------

    def new_number(self) -> str:
        """A number for a new cell."""
        self._numbers += 1
        return str(self._numbers)

    def token(self, by: str, home: str) -> Token:
        """A new token that ``by`` types into the cell with the number ``home``."""
        token = Token(f"<{by}.{len(self.tokens)}>", by, home=home)
        self.tokens[token.text] = token
        return token

    def token_in_file(self, home: str) -> Token:
        """A new token that another program writes into the file: safe from then on."""
        token = self.token("file", home)
        self.acknowledge([token], "file")
        return token

    def deletes_in_file(self, number: str, source: str) -> None:
        """Another program deletes a cell, and sees what is in the file."""
        self.seen_by_deleter.update(TOKEN.findall(source))
        self.deleted_in_file.setdefault(number, self.world.loop.time())

    def acknowledge(self, deeds: Iterable[Deed], level: str) -> None:
        """Their people are told that these are safe."""
        for deed in deeds:
            deed.acknowledged = level
            if isinstance(deed, Token):
                deed.acknowledged_at = min(deed.acknowledged_at, self.world.loop.time())

    def tokens_in(self, source: str) -> list[Token]:
        """The tokens that somebody sees in a cell."""
        return [self.tokens[text] for text in TOKEN.findall(source) if text in self.tokens]

    def taken_away(self, number: str, seen: Iterable[Token], deed: Deed, new_home: str | None) -> None:
        """A cell is deleted, or moved with what its mover sees in it."""
        self.taken[number] = deed
        if new_home is not None:
            for token in seen:
                token.home = new_home

    def gone_with_page(self, deeds: Iterable[Deed]) -> None:
        """A page is closed before these were acknowledged."""
        for deed in deeds:
            deed.void = True

    # --- judged at once -----------------------------------------------------------------------

    def heard_count(self, tab: Tab, level: str, count: int) -> None:
        """A tab is told that ``count`` of its frames are stored at this level."""
        if count > tab.sent:
            raise Violation(f"{tab.name} sent {tab.sent} frames and {count} are said to be stored")
        if count < tab.acknowledged.get(level, 0):
            raise Violation(f"{tab.name} was told {tab.acknowledged} and now {count} at {level}")

    def forced_reload(self, tab: Tab) -> None:
        """A tab is told that its history is over."""
        if not tab.synced:
            return  # it had nothing yet
        lineage = (tab.session or "").partition(".")[0]
        loaded = self.world.store.loaded()
        if loaded is not None and loaded.lineage == lineage:
            raise Violation(f"{tab.name} had to reload, and its history had not ended")
        if lineage not in self.world.provisional and not self.world.history_may_end:
            raise Violation(f"{tab.name} had to reload, and its history should not have ended")

    def look(self, name: str, doc: Doc[Any]) -> None:
        """Nothing is anywhere twice."""
        self._once(name, cells_of(doc))

    def _once(self, name: str, cells: Cells) -> None:
        counts = Counter(text for _, _, source in cells for text in TOKEN.findall(source))
        doubled = [text for text, count in counts.items() if count > 1]
        if doubled:
            raise Violation(f"{name} has {doubled} twice: {cells}")
        ids = [cell_id for cell_id, _, _ in cells]
        if len(ids) != len(set(ids)):
            raise Violation(f"{name} has cells twice: {cells}")

    # --- judged at the end --------------------------------------------------------------------

    def judge(self) -> None:
        """Everything is quiet: all copies agree, and hold what they must."""
        replicas = {tab.name: tab.doc for tab in self.world.tabs if not tab.closed}
        for server in self.world.servers:
            replicas |= {f"{server.name}: {name}": doc for name, doc in server.documents().items()}
        reference = cells_of(self._replayed())
        self._once("the store", reference)
        for name, doc in replicas.items():
            cells = cells_of(doc)
            self._once(name, cells)
            if cells != reference:
                raise Violation(f"{name} has {cells}, the store {reference}")
        data = self.world.files.content(self.world.path)
        nbformat.validate(nbformat.reads(data.decode(), as_version=4))
        if cells_in_file(data) != reference:
            raise Violation(f"the file has {cells_in_file(data)}, the store {reference}")
        self._tokens(reference)

    def _replayed(self) -> Doc[Any]:
        """A document from the store's bytes alone."""
        loaded = self.world.store.loaded()
        if not isinstance(loaded, Loaded):
            raise Violation(f"the store has {loaded}")
        replica = Replica(client_id=1)
        updates = [loaded.snapshot, *(update for entry in loaded.tail for update in entry.updates)]
        replica.apply(*updates)
        replica.unpark(updates)
        return replica.doc

    def _tokens(self, reference: Cells) -> None:
        there = {text: number for _, number, source in reference for text in TOKEN.findall(source)}
        kept = self.world.kept_versions(self.notices)
        for token in self.tokens.values():
            if token.text not in there and not self._excused(token) and token.text not in kept:
                raise Violation(f"{self._told(token)} is lost: {reference}")
        for number, deed in self.taken.items():
            cells = [cell for cell in reference if cell[1] == number]
            if cells and not deed.void:
                raise Violation(f"{cells} is back, though {deed.by} {deed.text}")

    def _excused(self, token: Token) -> bool:
        gone_with_cell = token.acknowledged_at > self.deleted_in_file.get(token.home, math.inf)
        seen = token.text in self.seen_by_deleter
        return token.void or token.home in self.taken or seen or gone_with_cell

    def _told(self, token: Token) -> str:
        level = token.acknowledged
        return f"{token.text} ({f'acknowledged: {level}' if level else 'never acknowledged'})"
