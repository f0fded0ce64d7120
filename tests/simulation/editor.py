"""Another program that changes the notebook's file: it reads, changes and writes in one moment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.engine_world import World

Cell = dict[str, Any]


def edit_outside(world: World) -> None:
    """Change the file in one of the ways in which programs do."""
    if world.path not in world.files.paths():
        return
    notebook = json.loads(world.files.content(world.path))
    cells: list[Cell] = notebook["cells"]
    choice = world.rng.random()
    indent = 1
    if choice < 0.1:
        world.files.external_touch(world.path)
        world.note("editor", "touches")
        return
    if choice < 0.2:
        indent = 2
    elif choice < 0.35:
        _insert(world, cells)
    elif choice < 0.5 and len(cells) > 1:
        _delete(world, cells)
    else:
        _type(world, world.rng.choice(cells))
    data = json.dumps(notebook, indent=indent).encode()
    world.files.external_write(world.path, data)
    world.note("editor", f"{choice:.3f}", [("".join(cell["source"])) for cell in cells])


def _insert(world: World, cells: list[Cell]) -> None:
    number = world.oracle.new_number()
    token = world.oracle.token_in_file(number)
    cell = {
        "cell_type": "code",
        "id": f"file-{number}",
        "metadata": {"number": number},
        "source": [token.text],
        "outputs": [],
        "execution_count": None,
    }
    cells.insert(world.rng.randint(0, len(cells)), cell)


def _delete(world: World, cells: list[Cell]) -> None:
    index = world.rng.randrange(len(cells))
    gone = cells.pop(index)
    world.oracle.deletes_in_file(str(gone["metadata"].get("number")), "".join(gone["source"]))


def _type(world: World, cell: Cell) -> None:
    source = "".join(cell["source"])
    token = world.oracle.token_in_file(str(cell["metadata"].get("number")))
    places = [0, *(i for i, char in enumerate(source) if char in " \n")]
    place = world.rng.choice(places)
    written = f"\n{token.text}" if place else f"{token.text}\n"
    cell["source"] = (source[:place] + written + source[place:]).splitlines(keepends=True)
