"""Names that people give: what is taken, what equal means, and what becomes an id or a folder of them.

A name is shown in lists, tables, terminals and other people's pages. Each of those escapes it for itself;
here is kept out what no place can show honestly: control characters, invisible ones, such that turn the
direction of writing, and endless ones.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Collection
from urllib.parse import urlsplit

LONGEST_NAME = 60
LONGEST_LINE = 200
"""Characters of a topic or a level."""
LONGEST_EMAIL = 254
LONGEST_ADDRESS = 500
LONGEST_ID = 24
"""Characters: a folder's name, and what others see as the user name."""
MOST_MARKS = 4
"""Marks on one letter; more of them would be painted over the lines above."""

_JOINERS = "\u200c\u200d"
"""Invisible, and needed: in Persian, in Indian scripts, in faces made of several signs."""
_FORBIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\"]+")
_NOT_IN_FOLDERS = re.compile(r"[\s/\\:*?\"<>|%#&'`$^;=]+")
_NO_FOLDER = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def name(text: str, longest: int = LONGEST_NAME) -> str:
    """``text`` as a name: composed, without double spaces. Raises ``ValueError`` with what to change."""
    made = line(text, longest)
    if not any(unicodedata.category(sign)[0] in "LN" for sign in made):
        raise ValueError("has no letter: write a name")
    return made


def line(text: str, longest: int = LONGEST_LINE) -> str:
    """``text`` as one honest line; it may be empty. Raises ``ValueError`` with what to change."""
    if len(text) > 4 * longest + 100:  # before any work on it
        raise ValueError(f"is too long: shorten it to {longest} characters")
    made = " ".join(unicodedata.normalize("NFC", text).split(" ")).strip()
    made = re.sub(r"[ \u00a0\u2000-\u200a\u202f\u205f\u3000]+", " ", made).strip()
    for sign in made:
        if unicodedata.category(sign) in _FORBIDDEN and sign not in _JOINERS:
            raise ValueError(f"has a sign that can't be shown (U+{ord(sign):04X}): remove it")
    if len(made) > longest:
        raise ValueError(f"is too long: shorten it to {longest} characters")
    if any(len(list(run)) > MOST_MARKS for mark, run in itertools.groupby(made, _is_mark) if mark):
        raise ValueError("has too many accents on one letter: remove some")
    return made


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Me")


def same(text: str) -> str:
    """Equal for names that people would take for the same."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(sign for sign in plain if sign not in _JOINERS).split())


def email(text: str) -> str:
    """``text`` as an address, or empty. Raises ``ValueError``."""
    made = text.strip()
    if made and (len(made) > LONGEST_EMAIL or not made.isprintable() or not _EMAIL.fullmatch(made)):
        raise ValueError("is no email address: write one like ann@example.org, or leave it empty")
    return made


def address(text: str) -> str:
    """``text`` as a web address, or empty. Raises ``ValueError``."""
    made = text.strip()
    try:
        parts = urlsplit(made)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if made and (not good or len(made) > LONGEST_ADDRESS or not made.isprintable() or " " in made):
        raise ValueError("is no address: write one like https://meet.example.org/room")
    return made


def id_for(text: str, role: str, taken: Collection[str]) -> str:
    """An id like ``ada-lovelace`` that nobody has; ``participant-3`` for a name without Latin letters."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:LONGEST_ID].strip("-")
    if base and not base.isdigit() and base not in taken:
        return base
    base = base if base and not base.isdigit() else role
    return next(f"{base}-{n}" for n in itertools.count(1) if f"{base}-{n}" not in taken)


def folder_for(text: str, taken: Collection[str]) -> str:
    """A folder's name like the group's that no group has, whatever the file system makes of case."""
    base = _NOT_IN_FOLDERS.sub("-", unicodedata.normalize("NFC", text)).strip("-. ~")
    if not base or _NO_FOLDER.fullmatch(base):
        base = f"group-{base}".strip("-")
    used = {same(each) for each in taken}
    if same(base) not in used:
        return base
    return next(f"{base}-{n}" for n in itertools.count(2) if same(f"{base}-{n}") not in used)


def told_apart(text: str, taken: Collection[str]) -> str:
    """``text``, or ``text (2)`` and so on: what nobody is called yet."""
    used = {same(each) for each in taken}
    if same(text) not in used:
        return text
    return next(f"{text} ({n})" for n in itertools.count(2) if same(f"{text} ({n})") not in used)


def cell(text: str) -> str:
    """``text`` for a table that a spreadsheet opens: none of it is a formula there."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """What `cell` was made of."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
