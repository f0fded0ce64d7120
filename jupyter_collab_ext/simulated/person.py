"""A scripted participant: writes words of their own into a shared notebook, as people do.

The script keeps to two rules that the shared model itself demands, so that whatever the oracle finds
missing is the server's doing:

- Only cells that nobody else types in are moved or deleted. The stock move deletes the cell and
  inserts a copy; what another person types into the original at that moment dies with it on every
  server. By convention ids of a person's own cells begin with ``own-PERSON-``, and everybody keeps out.
- A word begins at the start of a line, never just behind what another is typing: two people who type at
  one place at one time do mix their letters, in any editor.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pycrdt import Text

from jupyter_collab_ext.simulated import notebook_edits as edits
from jupyter_collab_ext.simulated.client import CollabClient
from jupyter_collab_ext.simulated.oracle import TOKEN, TokenLog, token

MOST_OWN_CELLS = 4
MOST_SHARED_CELLS = 3


@dataclass(frozen=True, slots=True)
class Habits:
    """How a person works: seconds between keys on average, and how often each action is begun, as weights."""

    pace: float = 0.3
    type_in_shared: float = 60
    type_in_own: float = 12
    erase_word: float = 4
    insert_cell: float = 6
    delete_cell: float = 3
    move_cell: float = 6
    run_cell: float = 9


TYPING_ONLY = Habits(type_in_own=0, erase_word=0, insert_cell=0, delete_cell=0, move_cell=0, run_cell=0)


@dataclass(slots=True)
class Deeds:
    """What a person did, to show that a run exercised what it should."""

    keys: int = 0
    words: int = 0
    cells_inserted: int = 0
    cells_deleted: int = 0
    cells_moved: int = 0
    runs: int = 0
    errors: list[str] = field(default_factory=list)


class Person:
    """One participant with a seeded script. ``number`` is unique in the notebook. ``on_key``, if set, is
    called just before each edit."""

    def __init__(
        self,
        client: CollabClient,
        number: int,
        log: TokenLog,
        rng: random.Random,
        *,
        habits: Habits | None = None,
    ) -> None:
        self.client = client
        self.number = number
        self.deeds = Deeds()
        self._log = log
        self._rng = rng
        self._habits = habits or Habits()
        self.on_key: Callable[[], None] | None = None
        self._doc = client.doc
        self._keys: deque[Callable[[], None]] = deque()
        self._own: list[str] = []
        self._shared_made = 0
        self._cells_made = 0
        self._words_made = 0
        self._dead = False
        self._last_word: tuple[edits.Caret, str] | None = None

    async def work(self, seconds: float) -> None:
        """Work for so long, then finish the word that was begun. Offline the person goes on typing."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await asyncio.sleep(self._rng.uniform(0, self._habits.pace))
        while loop.time() < end and not self._dead:
            self.press_key()
            await asyncio.sleep(self._habits.pace * self._rng.uniform(0.6, 1.4))
        self.finish()

    def press_key(self) -> None:
        """One edit, sent as one update."""
        if not self._keys:
            self._begin()
        self.deeds.keys += 1
        if self.on_key is not None:
            self.on_key()
        self._keys.popleft()()

    def finish(self) -> None:
        """Finish at once what was begun."""
        while self._keys:
            self.press_key()

    def die(self) -> None:
        """The tab is gone without a word: what nobody said to be stored may be lost with it."""
        self._dead = True
        self._keys.clear()
        known = {word.token: word for word in self._log.words if word.person == self.number}
        for number in range(1, self._words_made + 1):
            for name in (token("t", self.number, number), token("o", self.number, number)):
                word = known.get(name)
                stored = word is not None and word.edits <= self.client.own_edits.stored
                if not stored or word is None or word.deleted is not None:
                    self._log.excuse(name)
        self.client.die()

    def _begin(self) -> None:
        habits = self._habits
        actions: dict[Callable[[], None], float] = {
            self._type_in_shared: habits.type_in_shared,
            self._type_in_own: habits.type_in_own,
            self._erase_word: habits.erase_word,
            self._insert_cell: habits.insert_cell,
            self._delete_cell: habits.delete_cell,
            self._move_cell: habits.move_cell,
            self._run_cell: habits.run_cell,
        }
        action = self._rng.choices(list(actions), weights=list(actions.values()))[0]
        action()
        if not self._keys:
            self._type_in_shared()

    # --- words ---------------------------------------------------------------------------------

    def _type_in_shared(self) -> None:
        shared = [id for id in edits.cell_ids(self._doc) if not id.startswith("own-")]
        if not shared:
            # an empty notebook: somebody has to begin
            self._keys.append(self._insert_shared)
            return
        _, cell = edits.find_cell(self._doc, self._rng.choice(shared))
        self._type_word(cell["source"])

    def _type_in_own(self) -> None:
        if self._own:
            _, cell = edits.find_cell(self._doc, self._rng.choice(self._own))
            self._type_word(cell["source"])

    def _type_word(self, text: Text) -> None:
        word = self._new_word("t")
        caret = edits.Caret(text, self._rng.choice(edits.line_starts(text)))

        def press(key: str) -> Callable[[], None]:
            def pressed() -> None:
                caret.type(key)
                self._show_caret()

            return pressed

        def last_key() -> None:
            press("\n")()
            self.deeds.words += 1
            self._log.wrote(word, self.number, time.monotonic(), self.client.own_edits.made)
            self._remember((caret, word))

        self._keys.extend(press(letter) for letter in word)
        self._keys.append(last_key)

    def _erase_word(self) -> None:
        if self._last_word is None:
            return
        caret, word = self._last_word
        self._last_word = None  # its caret is still at work
        self._log.deleted(word, time.monotonic())
        self._keys.extend(caret.backspace for _ in range(len(word)))

        def last_key() -> None:
            caret.backspace()
            caret.release()

        self._keys.append(last_key)

    def _remember(self, word: tuple[edits.Caret, str] | None) -> None:
        if self._last_word is not None:
            self._last_word[0].release()
        self._last_word = word

    def _new_word(self, kind: str) -> str:
        self._words_made += 1
        return token(kind, self.number, self._words_made)

    def _show_caret(self) -> None:
        place = edits.typed_position(self._doc)
        self.client.set_awareness(
            "cursors", [{"anchor": place, "head": place, "primary": True, "empty": True}]
        )

    # --- cells ---------------------------------------------------------------------------------

    def _insert_cell(self) -> None:
        if self._shared_made < MOST_SHARED_CELLS and self._rng.random() < 0.3:
            self._keys.append(self._insert_shared)
        elif len(self._own) < MOST_OWN_CELLS:
            self._keys.append(self._insert_own)

    def _insert_shared(self) -> None:
        self._shared_made += 1
        self._insert(f"shared-{self.number}-{self._shared_made}")

    def _insert_own(self) -> None:
        self._cells_made += 1
        id = f"own-{self.number}-{self._cells_made}"
        self._insert(id)
        self._own.append(id)

    def _insert(self, id: str) -> None:
        edits.insert_cell(self._doc, self._rng.randint(0, len(edits.cells(self._doc))), id)
        self.deeds.cells_inserted += 1

    def _delete_cell(self) -> None:
        if len(self._own) > 1:
            self._keys.append(self._delete_own)

    def _delete_own(self) -> None:
        id = self._own.pop(self._rng.randrange(len(self._own)))
        _, cell = edits.find_cell(self._doc, id)
        self._strike(str(cell["source"]), *(str(output) for output in cell["outputs"].to_py() or ()))
        self._remember(None)  # its caret may be in this cell
        edits.delete_cell(self._doc, id)
        self.deeds.cells_deleted += 1

    def _move_cell(self) -> None:
        if self._own:
            self._keys.append(self._move_own)

    def _move_own(self) -> None:
        to = self._rng.randrange(len(edits.cells(self._doc)))
        self._remember(None)  # its caret may be in the original, which the move deletes
        edits.move_cell(self._doc, self._rng.choice(self._own), to)
        self.deeds.cells_moved += 1

    # --- runs ----------------------------------------------------------------------------------

    def _run_cell(self) -> None:
        """Clear, print twice, show a result, finish: five updates, as a kernel's messages bring them."""
        if not self._own:
            return
        _, cell = edits.find_cell(self._doc, self._rng.choice(self._own))
        printed, again, result = (self._new_word("o") for _ in range(3))

        def start() -> None:
            self._strike(*(str(output) for output in cell["outputs"].to_py() or ()))
            edits.clear_outputs(cell)

        def wrote(word: str, write: Callable[[edits.Cell, str], None], text: str) -> Callable[[], None]:
            def happen() -> None:
                write(cell, text)
                self._log.wrote(word, self.number, time.monotonic(), self.client.own_edits.made)

            return happen

        def end() -> None:
            self.deeds.runs += 1
            edits.finish_run(cell, self.deeds.runs)

        self._keys.extend(
            (
                start,
                wrote(printed, edits.append_stream, f"{printed}\n"),
                wrote(again, edits.append_stream, f"{again}\n"),
                wrote(result, edits.append_display, result),
                end,
            )
        )

    def _strike(self, *texts: str) -> None:
        now = time.monotonic()
        for text in texts:
            for word in TOKEN.findall(text):
                self._log.deleted(word, now)
