"""Paths from the server's root, with forward slashes: what is at and below one, and where it goes with it."""

from __future__ import annotations


def within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder``, or below it."""
    return path == folder or path.startswith(f"{folder}/")


def moved(path: str, old: str, new: str) -> str | None:
    """Where ``path`` is after ``old`` became ``new``; None if it is not at or below ``old``."""
    return new + path[len(old) :] if within(path, old) else None
