"""Names of people and groups: what is taken, what is equal, and what becomes of them elsewhere."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_collab_ext import names
from jupyter_collab_ext.people_file import ID


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("  Zoë\u00a0 Müller ", "Zoë Müller"),
        ("Zoe\u0308", "Zoë"),
        ("李雷", "李雷"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("<b>Ann</b>", "<b>Ann</b>"),
        ("O'Neil, Jr.", "O'Neil, Jr."),
        ("7", "7"),
    ],
)
def test_names_that_are_taken(said: str, made: str) -> None:
    assert names.name(said) == made


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "no letter"),
        ("...", "no letter"),
        ("👩\u200d🔬", "no letter"),
        ("a\nb", r"U\+000A"),
        ("a\x1b[31mb", r"U\+001B"),
        ("a\x00", r"U\+0000"),
        ("gnp.\u202eexe", r"U\+202E"),
        ("a\u200bb", r"U\+200B"),
        ("a\u2028b", r"U\+2028"),
        ("a\ue000", r"U\+E000"),
        ("\ud800a", r"U\+D800"),
        ("x" * 61, "shorten it to 60"),
        ("x" * 10_000_000, "shorten it to 60"),
        ("z" + "\u0335" * 5, "too many accents"),
    ],
)
def test_names_that_are_refused(said: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        names.name(said)


@given(st.text(max_size=80))
def test_a_name_is_taken_as_it_is_or_refused(said: str) -> None:
    try:
        made = names.name(said)
    except ValueError:
        return
    assert names.name(made) == made
    assert 0 < len(made) <= 60
    assert made == made.strip()
    assert all(unicodedata.category(sign) not in ("Cc", "Cs", "Zl", "Zp") for sign in made)


@given(st.text(max_size=80), st.sets(st.text(max_size=30), max_size=5))
def test_every_group_gets_a_folder_of_its_own_below_the_root(said: str, taken: set[str]) -> None:
    made = names.folder_for(said, taken)
    assert made not in ("", ".", "..")
    assert not made.startswith((".", "~"))
    assert not made.endswith(".")
    assert not set(made) & set('/\\:*?"<>|%# \t\n')
    assert names.same(made) not in {names.same(each) for each in taken}


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("Group 1", "Group-1"),
        ("Übung Ä/Ö", "Übung-Ä-Ö"),
        ("U\u0308bung", "Übung"),
        ("..", "group"),
        ("CON", "group-CON"),
        (".hidden", "hidden"),
        ("a%2fb", "a-2fb"),
        ("team's & co", "team-s-co"),
    ],
)
def test_folders(said: str, made: str) -> None:
    assert names.folder_for(said, ()) == made


def test_folders_that_a_file_system_would_take_for_one() -> None:
    assert names.folder_for("übung", ["Übung"]) == "übung-2"
    assert names.folder_for("GROUP", ["group", "group-2"]) == "GROUP-3"


@given(st.text(max_size=80), st.sets(st.text(max_size=30), max_size=5))
def test_ids_are_plain_and_nobodys(said: str, taken: set[str]) -> None:
    made = names.id_for(said, "participant", taken)
    assert ID.fullmatch(made)
    assert made == made.lower()
    assert made not in taken


@pytest.mark.parametrize(
    ("said", "made"),
    [("Ada Lovelace", "ada-lovelace"), ("Zoë Groß", "zoe-gross"), ("李雷", "tutor-1"), ("42", "tutor-1")],
)
def test_ids(said: str, made: str) -> None:
    assert names.id_for(said, "tutor", ()) == made


def test_who_is_called_alike_is_told_apart() -> None:
    assert names.told_apart("Ann", []) == "Ann"
    assert names.told_apart("ann", ["Ann", "Ann (2)"]) == "ann (3)"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Ann", "ANN"),
        ("Straße", "STRASSE"),
        ("Zoë", "Zoe\u0308"),
        ("Ａnn", "Ann"),
        ("a\u200cb", "ab"),
        ("a  b", "a b"),
    ],
)
def test_equal_names(one: str, two: str) -> None:
    assert names.same(one) == names.same(two)


@given(st.text(max_size=30))
def test_no_cell_is_a_formula_and_all_come_back(said: str) -> None:
    made = names.cell(said)
    assert not made.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert names.from_cell(made) == said or said.startswith("'")


@pytest.mark.parametrize("said", ["", "a@b.org", " Ann.Ä@exämple.org "])
def test_addresses_of_mail(said: str) -> None:
    assert names.email(said) == said.strip()


@pytest.mark.parametrize(
    "said", ["a", "a@b", "a b@c.de", "a@b.org, c@d.org", "a\n@b.de", "x" * 250 + "@b.org"]
)
def test_what_is_no_address_of_mail(said: str) -> None:
    with pytest.raises(ValueError, match="like ann@example.org"):
        names.email(said)


@pytest.mark.parametrize(
    "said", ["javascript:alert(1)", "meet.example.org", "https://", "https://[x", "http://a b/"]
)
def test_what_is_no_web_address(said: str) -> None:
    with pytest.raises(ValueError, match="like https://meet"):
        names.address(said)


def test_web_addresses() -> None:
    assert names.address(" https://meet.example.org/r?x=1#y ") == "https://meet.example.org/r?x=1#y"
    assert names.address("") == ""
