"""Three-way merge of notebooks, cell by cell (design section 6, rules 17 and 28). Pure.

``ours`` is the document, ``theirs`` the file that another program wrote, ``base`` the slim form of
what both were. What only one side changed is taken; what both changed differently is a conflict, in
which the document wins and the whole file becomes a version, so nothing of either is lost.

This is not nbdime: that matches cells by what is alike in them, so a cell that one side moved and the
other edited is deleted and added; here the id says which cell it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from notebook_sync.adapters.cell_identity import adopt_ids
from notebook_sync.adapters.cell_order import merged_order
from notebook_sync.adapters.merge_base import slim_cell
from notebook_sync.adapters.notebook_form import Json
from notebook_sync.adapters.text_merge import merge_text

_REFILLED = ("language_info",)
"""Metadata that each kernel start writes anew: a difference in it is no loss."""
_TYPED = ("outputs", "execution_count", "attachments")
_WEIGHT_OF_CHANGED = 1000
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class NotebookMerge:
    """``notebook``: the result in normal form. ``conflicts``: where the document won, for people."""

    notebook: Json
    conflicts: tuple[str, ...]
    theirs: tuple[str, ...] = ()
    """The ids of the cells of ``theirs``, those that are cells of the others under the ids of these."""


def merge_notebooks(base: Json | None, ours: Json, theirs: Json, seen: Collection[str] = ()) -> NotebookMerge:
    """Merge notebooks in normal form; ``base`` in slim form, None when it is not known.

    Cells of ``ours`` have ids; those of ``base`` and ``theirs`` may lack them (nbformat before 4.5).
    Cells in ``seen`` that are not in ``ours`` were deleted there, also if ``base`` does not know it.
    """
    return _Merge(base, ours, theirs, frozenset(seen)).result()


class _Merge:
    def __init__(self, base: Json | None, ours: Json, theirs: Json, seen: frozenset[str]) -> None:
        self._conflicts: list[str] = []
        self._seen = seen
        self._notebooks = (base, ours, theirs)
        taken = {cell["id"] for notebook in (ours, theirs) for cell in notebook["cells"]}
        our_cells: list[Json] = ours["cells"]
        self._ours = {cell["id"]: cell for cell in our_cells}
        self._base: dict[str, Json] | None = None
        known = our_cells
        if base is not None:
            known = adopt_ids(our_cells, base["cells"], _fresh_ids(taken))
            self._base = {cell["id"]: cell for cell in known}
        their_cells = adopt_ids(known, theirs["cells"], _fresh_ids(taken))
        if base is not None:  # what came to both since the base, under an id for each
            their_cells = adopt_ids(self._only_ours(known), their_cells, _fresh_ids(taken))
        self._theirs = {cell["id"]: cell for cell in their_cells}
        self._slim_ours = {cell["id"]: slim_cell(cell) for cell in our_cells}
        self._slim_theirs = {cell["id"]: slim_cell(cell) for cell in their_cells}
        self._numbers = {cell_id: number for number, cell_id in enumerate(self._ours, 1)}

    def _only_ours(self, known: list[Json]) -> list[Json]:
        ids = {cell["id"] for cell in known}
        return [cell for cell in self._ours.values() if cell["id"] not in ids]

    def result(self) -> NotebookMerge:
        base, ours, theirs = self._notebooks
        cells = self._cells()
        order = merged_order(
            list(self._base) if self._base is not None else None,
            list(self._ours),
            list(self._theirs),
            set(cells),
            self._weight,
        )
        metadata, lost = merge_metadata(
            base["metadata"] if base else None, ours["metadata"], theirs["metadata"]
        )
        if lost := [key for key in lost if key not in _REFILLED]:
            self._conflicts.append(f"notebook metadata: {', '.join(lost)}")
        notebook = {
            **ours,
            "cells": [cells[cell_id] for cell_id in order],
            "metadata": metadata,
            "nbformat_minor": _minor(base, ours, theirs),
        }
        return NotebookMerge(notebook, tuple(self._conflicts), tuple(self._theirs))

    def _cells(self) -> dict[str, Json]:
        base = self._base if self._base is not None else {}
        return self._cells_of_ours(base) | self._new_cells_of_theirs(base)

    def _cells_of_ours(self, base: dict[str, Json]) -> dict[str, Json]:
        cells: dict[str, Json] = {}
        for cell_id, cell in self._ours.items():
            if cell_id in self._theirs:
                cells[cell_id] = self._in_both(cell_id, base.get(cell_id))
            elif cell_id not in base:
                cells[cell_id] = cell
            elif self._slim_ours[cell_id] != base[cell_id]:
                self._conflict(cell_id, "deleted in the file, changed here")
                cells[cell_id] = cell
        return cells

    def _new_cells_of_theirs(self, base: dict[str, Json]) -> dict[str, Json]:
        cells: dict[str, Json] = {}
        for number, (cell_id, cell) in enumerate(self._theirs.items(), 1):
            if cell_id in self._ours:
                continue
            where = f"cell {number} of the file (id {cell_id})"
            if cell_id in base:
                if self._slim_theirs[cell_id] != base[cell_id]:
                    self._conflicts.append(f"{where}: deleted here, changed in the file")
            elif cell_id in self._seen:
                self._conflicts.append(f"{where}: deleted here, back in the file")
            else:
                cells[cell_id] = cell
        return cells

    def _in_both(self, cell_id: str, base: Json | None) -> Json:
        slim_ours, slim_theirs = self._slim_ours[cell_id], self._slim_theirs[cell_id]
        if slim_theirs in (base, slim_ours):
            return self._ours[cell_id]
        if slim_ours == base:
            return self._theirs[cell_id]
        if base is None:
            self._conflict(cell_id, "different in the file")
            return self._ours[cell_id]
        ours = _Side(self._ours[cell_id], slim_ours)
        cell, lost = _merge_cell(base, ours, _Side(self._theirs[cell_id], slim_theirs))
        if lost:
            self._conflict(cell_id, ", ".join(lost))
        return cell

    def _weight(self, cell_id: str) -> int:
        """Cells that people changed here since the base are the last to be moved."""
        base = self._base or {}
        changed = cell_id in self._slim_ours and self._slim_ours[cell_id] != base.get(cell_id)
        return _WEIGHT_OF_CHANGED if changed else 1

    def _conflict(self, cell_id: str, what: str) -> None:
        self._conflicts.append(f"cell {self._numbers[cell_id]} (id {cell_id}): {what}")


@dataclass(frozen=True, slots=True)
class _Side:
    """A cell of one side, whole and slim."""

    cell: Json
    slim: Json

    @property
    def cell_type(self) -> str:
        cell_type: str = self.cell["cell_type"]
        return cell_type

    def typed(self) -> Json:
        """What goes with the cell's type."""
        return {key: self.cell[key] for key in ("cell_type", *_TYPED) if key in self.cell}


def _merge_cell(base: Json, ours: _Side, theirs: _Side) -> tuple[Json, list[str]]:
    """The merged cell and the names of what theirs lost."""
    lost: list[str] = []
    source = merge_text(base["source"], ours.cell["source"], theirs.cell["source"])
    if source.conflicts:
        lost.append("source")
    metadata, lost_keys = merge_metadata(base["metadata"], ours.cell["metadata"], theirs.cell["metadata"])
    if lost_keys:
        lost.append("metadata")
    if ours.cell_type == theirs.cell_type:
        typed = _merge_typed(base, ours, theirs, lost)
    else:
        typed = _merge_types(base, ours, theirs, lost)
    return {"id": ours.cell["id"], "metadata": metadata, "source": source.text, **typed}, lost


def _merge_types(base: Json, ours: _Side, theirs: _Side, lost: list[str]) -> Json:
    """One side changed the cell's type; what goes with a type comes along with it."""
    if ours.cell_type == base["cell_type"] and _bulk(ours.slim) == _bulk(base):
        return theirs.typed()
    if theirs.cell_type != base["cell_type"] or _bulk(theirs.slim) != _bulk(base):
        lost.append("type")
    return ours.typed()


def _merge_typed(base: Json, ours: _Side, theirs: _Side, lost: list[str]) -> Json:
    """Outputs with their execution count, or attachments: each whole, from one side."""
    typed = ours.typed()
    for part in ("outputs", "attachments"):
        takes = _takes_theirs(base.get(part), ours.slim.get(part), theirs.slim.get(part))
        if takes is None:
            lost.append(part)
        if takes:
            typed.pop(part, None)
            typed.update({key: theirs.cell[key] for key in (part,) if key in theirs.cell})
        if part == "outputs" and "outputs" in ours.cell:
            if ours.slim["outputs"] == theirs.slim["outputs"]:
                takes = _takes_theirs(
                    *(side["execution_count"] for side in (_counted(base), ours.cell, theirs.cell))
                )
            typed["execution_count"] = (theirs if takes else ours).cell["execution_count"]
    return typed


def _counted(base: Json) -> Json:
    return base if "execution_count" in base else {"execution_count": None}


def _bulk(slim: Json) -> tuple[Any, Any]:
    return slim.get("outputs") or None, slim.get("attachments")


def merge_metadata(base: Any, ours: Json, theirs: Json) -> tuple[Json, list[str]]:
    """Objects merged key by key, at every depth, and the keys in which ours stayed against theirs.

    ``base`` None (or no object): what only one side has is taken.
    """
    merged: Json = {}
    lost: list[str] = []
    known = isinstance(base, dict)
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        before = base.get(key, _ABSENT) if known else _ABSENT
        our, their = ours.get(key, _ABSENT), theirs.get(key, _ABSENT)
        if isinstance(our, dict) and isinstance(their, dict):
            our, lost_inside = merge_metadata(before, our, their)
            takes = None if lost_inside else False
        elif known:
            takes = _takes_theirs(before, our, their)
        else:
            takes = our is _ABSENT or (False if their is _ABSENT or our == their else None)
        if takes is None:
            lost.append(key)
        value = their if takes else our
        if value is not _ABSENT:
            merged[key] = value
    return merged, lost


def _minor(base: Json | None, ours: Json, theirs: Json) -> int:
    minors: list[int] = [side["nbformat_minor"] for side in (ours, theirs)]
    takes = _takes_theirs(base["nbformat_minor"], *minors) if base else False
    return max(minors) if takes is None else minors[bool(takes)]


def _takes_theirs(base: Any, ours: Any, theirs: Any) -> bool | None:
    """Whether the merged value is theirs; None if both changed it differently."""
    if theirs in (base, ours):
        return False
    return True if ours == base else None


def _fresh_ids(taken: set[Any]) -> Callable[[], str]:
    def fresh() -> str:
        while (cell_id := secrets.token_hex(4)) in taken:
            pass
        taken.add(cell_id)
        return cell_id

    return fresh
