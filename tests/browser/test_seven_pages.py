"""Seven real pages with the stock front end, each logged in by its own personal link."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.browser.conftest import NOTEBOOK, OWN_CELLS, RUN_CELL, SevenPages
from tests.support.browser import Person, until
from tests.support.waiting import eventually

IDEAS = [
    "KNeighborsClassifier(3)  # close ones are alike",
    "LogisticRegression()  # a line may be enough",
    "DecisionTreeClassifier(max_depth=2)  # naïve, but readable",
    "SVC(kernel='rbf')  # for the two that overlap",
    "GaussianNB()  # each kind is a cloud",
    "RandomForestClassifier(50)  # many trees",
    "# Looks good! Who compares them?",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_everybody_types_and_everybody_sees_it(seven: SevenPages) -> None:
    lines = dict(zip(seven.people, IDEAS, strict=True))

    await asyncio.gather(*(p.type_at_end(seven.own_cell(p), line) for p, line in lines.items()))

    for reader in seven.people:
        for writer, line in lines.items():
            await reader.sees_source(seven.own_cell(writer), line)
    shown = [await sources(person) for person in seven.people]
    assert all(page == shown[0] for page in shown)
    for number, line in enumerate(lines.values()):
        assert shown[0][number] == f"# Idea {number + 1}\n{line}"
    await nobody_saw_a_dialog(seven)


async def test_one_runs_a_cell_and_the_outputs_appear_on_all_pages(
    seven: SevenPages,
) -> None:
    await seven.people[2].run(RUN_CELL)

    for person in seven.people:
        await person.sees_output(RUN_CELL, "three kinds, 120 flowers")
        await person.sees_figure(RUN_CELL)
    await nobody_saw_a_dialog(seven)


async def test_seven_pages_that_opened_together_share_one_kernel(seven: SevenPages) -> None:
    sessions = await asyncio.to_thread(seven.group.get, "api/sessions")
    kernels = await asyncio.to_thread(seven.group.get, "api/kernels")

    assert [Path(session["path"]).name for session in sessions] == [NOTEBOOK], sessions
    assert [kernel["id"] for kernel in kernels] == [sessions[0]["kernel"]["id"]]


async def test_names_and_colours_are_those_of_the_links(seven: SevenPages, pictures: Path | None) -> None:
    await asyncio.gather(*(person.show_people() for person in seven.people))
    names = {link.name for link in seven.links}
    colours = {}
    for person in seven.people:
        assert await person.own_name() == person.name
        colours[person.name] = await person.own_colour()
    assert set(colours) == names
    assert len(names) == len(set(colours.values())) == 7

    for person in seven.people:
        others = {name: colour for name, colour in colours.items() if name != person.name}

        async def listed(person: Person = person, others: dict[str, str] = others) -> bool:
            return dict(await person.people()) == others

        async def carets(person: Person = person, others: dict[str, str] = others) -> bool:
            return set(await person.caret_colours()) == set(others.values())

        await until(listed, person.page, f"the six others with their colours in {person.name}'s list")
        await until(carets, person.page, f"the six others' carets on {person.name}'s page")

    if pictures:
        writer = seven.people[2]
        await seven.tutor.go_to_end(seven.own_cell(seven.tutor))
        await writer.go_to_end(seven.own_cell(writer))
        await seven.tutor.sees_caret(seven.own_cell(writer), colours[writer.name])
        await seven.people[0].picture(pictures / "participant.png")
        await seven.tutor.picture(pictures / "tutor.png")


async def test_the_file_holds_what_the_pages_show(seven: SevenPages) -> None:
    await seven.people[0].type_at_end(OWN_CELLS, "\nx = 1")
    await seven.tutor.sees_source(OWN_CELLS, "x = 1")
    shown = await sources(seven.tutor)

    def on_disk() -> list[str]:
        notebook = json.loads((seven.group.folder / NOTEBOOK).read_text(encoding="utf-8"))
        return ["".join(cell["source"]) for cell in notebook["cells"][OWN_CELLS:]]

    await asyncio.to_thread(eventually, lambda: on_disk() == shown, what="the file to hold what is shown")
    notebook = json.loads((seven.group.folder / NOTEBOOK).read_text(encoding="utf-8"))
    assert [cell["id"] for cell in notebook["cells"]] == [f"cell-{n}" for n in range(OWN_CELLS + 7)]


async def sources(person: Person) -> list[str]:
    """The seven own cells as this person's page shows them."""
    return [await person.source(OWN_CELLS + n) for n in range(7)]


async def nobody_saw_a_dialog(seven: SevenPages) -> None:
    assert {person.name: await person.dialogs() for person in seven.people} == {
        person.name: [] for person in seven.people
    }
