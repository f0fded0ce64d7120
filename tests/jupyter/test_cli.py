"""``jupyter collab``: what it makes, what it says, and that it never touches what is there."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from rich.console import Console
from typer.testing import CliRunner

from jupyter_collab_ext import cli
from jupyter_collab_ext.cli import screen
from jupyter_collab_ext.cli.options import Options
from jupyter_collab_ext.cli.prepare import Event, prepare
from jupyter_collab_ext.cli.start import _arguments
from jupyter_collab_ext.links import LONGEST_BASE
from jupyter_collab_ext.people import GROUP
from jupyter_collab_ext.simulated import Browser
from jupyter_collab_ext.simulated.browser import NAVIGATION
from notebook_sync.core.errors import ConfigError
from tests.support.started_group import StartedGroup
from tests.support.stock_server import free_port
from tests.support.terminal import Terminal

pytestmark = pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning")


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """A folder of somebody's own exercises."""
    folder = tmp_path / "exercises"
    (folder / "data" / ".hidden").mkdir(parents=True)
    (folder / ".git").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), folder / "one.ipynb")
    (folder / "data" / "table.csv").write_text("a,b\n")
    return folder


@pytest.fixture
def options(tmp_path: Path, notebooks: Path) -> Options:
    """A start of three on these."""
    return Options(tmp_path / "event", notebooks, participants=3, port=free_port())


def ids(event: Event) -> list[str]:
    return [person.id for person, _ in event.links()]


def event_files(folder: Path) -> list[Path]:
    """All files below, hidden ones too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Path -> modification time and content."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


# --- the folder and the people ------------------------------------------------------------------------


def test_a_new_event(options: Options) -> None:
    event = prepare(options)
    assert not event.continued
    assert sorted(files(options.folder / GROUP)) == ["data/table.csv", "one.ipynb"], (
        "nothing hidden is copied"
    )
    assert ids(event) == ["tutor-1", "participant-1", "participant-2", "participant-3"]
    assert [person.name for person, _ in event.links()][:2] == ["Tutor", "Participant 1"]
    assert len({person.color for person, _ in event.links()}) == 4
    assert event.state_dir.stat().st_mode & 0o777 == 0o700
    for secret in ("people.json", "links.key", "people.lock"):
        assert (event.state_dir / secret).stat().st_mode & 0o777 == 0o600, secret


def test_started_again_it_is_the_same_event(options: Options) -> None:
    first = prepare(options)
    work = options.folder / GROUP
    (work / "one.ipynb").write_text("changed")
    (work / "data" / "table.csv").unlink()
    before = files(work)
    again = prepare(Options(options.folder))
    assert again.continued
    assert again.links() == first.links(), "port and names too, without saying them again"
    assert files(work) == before, "no example is mixed in, and nothing deleted comes back"


def test_started_again_with_notebooks_it_takes_in_new_ones_only(options: Options, notebooks: Path) -> None:
    prepare(options)
    work = options.folder / GROUP
    (work / "one.ipynb").write_text("changed")
    (work / "two.ipynb").symlink_to(options.folder / "nowhere")
    before = files(work)
    nbformat.write(nbformat.v4.new_notebook(), notebooks / "two.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), notebooks / "three.ipynb")
    prepare(options)
    after = files(work)
    assert after.pop("three.ipynb")
    assert after == before
    assert not (options.folder / "nowhere").exists()


def test_people_are_added_and_never_taken_out(options: Options) -> None:
    first = dict(prepare(options).roster.people)
    fewer = prepare(replace(options, participants=1, tutors=0))
    assert fewer.roster.people == first
    more = prepare(replace(options, participants=5, observers=1))
    assert {name: more.roster.people[name] for name in first} == first
    assert set(more.roster.people) - set(first) == {"participant-4", "participant-5", "observer-1"}


def test_a_copy_that_fails_leaves_nothing_half_done(
    options: Options, notebooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:5])
        raise OSError(28, "No space left on device")

    shutil.rmtree(notebooks / "data")
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copy2", torn)
        with pytest.raises(ConfigError, match="No space left"):
            prepare(options)
    assert list((options.folder / GROUP).iterdir()) == []
    assert [path.name for path in event_files(options.folder / ".collab" / "originals")] == ["one.ipynb"]
    prepare(options)
    assert list(files(options.folder / GROUP)) == ["one.ipynb"]


def test_the_example_is_there_by_itself(tmp_path: Path) -> None:
    event = prepare(Options(tmp_path / "event", port=free_port()))
    assert list((event.options.folder / GROUP).glob("*.ipynb"))
    assert len(ids(event)) == 7


# --- refusals: one sentence that says what to change -----------------------------------------------------


def refused(*arguments: str, **environment: str) -> str:
    """What the command says on its way out with code 1."""
    outcome = CliRunner(env={"COLUMNS": "200", **environment}).invoke(cli.app, ["start", *arguments])
    assert isinstance(outcome.exception, ConfigError), outcome.output
    return str(outcome.exception)


def test_no_such_notebooks(tmp_path: Path) -> None:
    said = refused("--root", str(tmp_path / "r"), "--notebooks", str(tmp_path / "none"))
    assert said.endswith("name the folder of your notebooks with --notebooks")


def test_a_folder_without_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused("--root", str(tmp_path / "r"), "--notebooks", str(tmp_path / "empty"))
    assert "there is no notebook in" in said


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("")
    assert refused("--root", str(tmp_path / "r")).endswith("name another folder with --root")


def test_a_root_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path / "r")
    said = refused("--root", str(tmp_path / "r"))
    assert said == f"{tmp_path / 'r'} can't be used (Permission denied): name another folder with --root"


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--root", str(tmp_path / "r"), "--port", str(port))
    assert said.startswith(f"port {port} is taken: ")


def test_without_a_port_the_next_free_one_is_taken(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys.modules[Event.__module__], "FIRST_PORT", port)
        event = prepare(replace(options, port=None))
    assert event.port > port
    assert f":{event.port}/" in event.links()[0][1]


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    said = refused("--root", str(tmp_path / "r"), "--ip", "no such host")
    assert said == "no such host is no address of this machine: correct --ip"


@pytest.mark.parametrize(
    "address", ["your.name", "ftp://your.name/", "https://", "https://x/?a=b", "http://[x/"]
)
def test_a_public_url_that_is_none(tmp_path: Path, address: str) -> None:
    said = refused("--root", str(tmp_path / "r"), "--public-url", address)
    assert said == f"{address} is no address: write --public-url like https://your.name/"
    assert not (tmp_path / "r").exists()


def test_main_says_it_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r").write_text("")
    monkeypatch.setattr("sys.argv", ["jupyter-collab", "start", "--root", str(tmp_path / "r")])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err.startswith("jupyter collab: ")


# --- what is printed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["start", "demo", "init", "links", "add", "move", "relink", "revoke"])
def test_help(command: str) -> None:
    outcome = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli.app, [command, "--help"])
    assert outcome.exit_code == 0
    wanted = {
        "start": [
            "--people", "--tutors", "--observers", "--notebooks", "--root", "--port", "--ip", "--public-url",
            "--redis-url", "--no-browser", "--state-dir", "JUPYTER_COLLAB_REDIS_URL", "--roster", "--data",
            "--link-days", "--ask-names", "--certfile", "--keyfile", "--dry-run", "hackathon.toml",
        ],
        "demo": ["--seconds", "--port", "--no-browser"],
        "init": ["hackathon.toml"],
        "links": ["--group", "--root", "--state-dir"],
        "add": ["NAME", "--group", "--role", "--email", "--root"],
        "move": ["NAME", "group...", "--root"],
        "relink": ["NAME", "--root"],
        "revoke": ["NAME", "--root"],
    }[command]  # fmt: skip
    assert [option for option in wanted if option not in outcome.output] == []


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """What a terminal of so many columns shows; parametrize with the width."""
    width = getattr(request, "param", 160)
    console = Console(highlight=False, width=width, record=True, file=Terminal(), force_terminal=True)
    monkeypatch.setattr(screen, "console", console)
    return console


@pytest.mark.parametrize("printed", [20, 40, 80, 119, 120, 200], indirect=True)
def test_no_link_is_cut_or_wrapped(options: Options, printed: Console) -> None:
    event = prepare(replace(options, public_url="https://a-rather-long-name.of-a-university.example/hub/"))
    screen.greeting(event)
    text = printed.export_text()
    for _, link in event.links():
        assert re.search(rf"(^|\s){re.escape(link)}\s*$", text, re.MULTILINE), text


def test_links_are_short(options: Options) -> None:
    address = f"https://{'x' * (LONGEST_BASE - 9)}/"
    event = prepare(replace(options, public_url=address))
    assert max(len(link) for _, link in event.links()) <= 100


def test_an_address_that_makes_links_too_long(tmp_path: Path) -> None:
    said = refused("--root", str(tmp_path / "r"), "--public-url", f"https://{'x' * LONGEST_BASE}/")
    assert "links longer than 100 characters" in said
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("colours", [None, "1"])
def test_what_is_no_terminal_gets_no_links(
    options: Options, monkeypatch: pytest.MonkeyPatch, colours: str | None
) -> None:
    if colours:
        monkeypatch.setenv("FORCE_COLOR", colours)  # as services and build machines do
    log = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(highlight=False, width=200, file=log))
    event = prepare(options)
    screen.greeting(event)
    assert "4 links are in" in log.getvalue()
    assert str(event.state_dir / "links.csv") in log.getvalue()
    assert "key=" not in log.getvalue()


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, False),
        ({"ip": "0.0.0.0"}, True),
        ({"ip": "0.0.0.0", "public_url": "https://your.name/"}, False),
        ({"public_url": "http://your.name/"}, True),
        ({"ip": "0.0.0.0", "certfile": Path(__file__)}, False),
    ],
)
def test_it_warns_where_nothing_is_encrypted(
    options: Options, printed: Console, changes: dict[str, Any], warned: bool
) -> None:
    screen.greeting(prepare(replace(options, **changes)))
    assert ("Nothing is encrypted" in printed.export_text()) is warned


def test_started_again_it_is_reached_as_before(options: Options) -> None:
    """Links that were given out lead to the same place, without saying it again."""
    first = prepare(replace(options, public_url="https://your.name/x/", ip="127.0.0.1"))
    again = prepare(Options(options.folder))
    assert again.links() == first.links()
    assert again.options.public_url == "https://your.name/x/"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--certfile", "/none.pem"), "there is no file /none.pem: correct --certfile"),
        (("--keyfile", __file__), "a key without its certificate can't be used: name it with --certfile"),
    ],
)
def test_certificates_that_can_not_be_used(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    assert refused("--root", str(tmp_path / "r"), *words) == said


def test_a_certificate_is_passed_on(options: Options) -> None:
    event = prepare(replace(options, certfile=Path(__file__), keyfile=Path(__file__)))
    assert event.base.startswith("https://")
    arguments = _arguments(event)
    assert {f"--ServerApp.certfile={__file__}", f"--ServerApp.keyfile={__file__}"} <= set(arguments)


def test_on_loopback_it_says_how_others_get_in(options: Options, printed: Console) -> None:
    event = prepare(options)
    screen.greeting(event)
    text = printed.export_text()
    again = f"jupyter collab start --root {options.folder}"
    assert f"{again} --ip 0.0.0.0\n" in text
    assert f"{again} --public-url https://your.name/\n" in text
    assert f"ssh -L {event.port}:127.0.0.1:{event.port} you@{socket.gethostname()}\n" in text
    assert "private window" in text


def test_names_are_printed_as_they_are(options: Options, printed: Console) -> None:
    event = prepare(options)
    person = replace(event.roster.people["participant-1"], name="[red]Ann[/red]")
    event = replace(event, roster=replace(event.roster, people={person.id: person}))
    screen.greeting(event)
    assert "[red]Ann[/red]" in printed.export_text()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "jupyter collab start --root '/a b'"),
        ({"ip": "0.0.0.0"}, "jupyter collab start --root '/a b' --ip 0.0.0.0"),
        ({"public_url": "https://x/"}, "jupyter collab start --root '/a b' --public-url https://x/"),
        ({"state_dir": Path("/s")}, "jupyter collab start --root '/a b' --state-dir /s"),
        ({"event_file": Path("/e.toml"), "state_dir": Path("/s")}, "jupyter collab start /e.toml"),
        (
            {"event_file": Path("/e.toml"), "root_given": True},
            "jupyter collab start /e.toml --root '/a b'",
        ),
        (
            {"redis_url": "redis://:secret@host"},
            "JUPYTER_COLLAB_REDIS_URL=… jupyter collab start --root '/a b'",
        ),
    ],
)
def test_the_command_to_go_on(changes: dict[str, Any], expected: str) -> None:
    assert Options(Path("/a b"), **changes).again() == expected


# --- real servers ----------------------------------------------------------------------------------------


async def test_start_and_start_again(tmp_path: Path, notebooks: Path) -> None:
    group = StartedGroup(tmp_path, "--people", "2", "--observers", "1", "--notebooks", str(notebooks))
    with group:
        links = group.links
        assert [link.name for link in links] == ["Tutor", "Participant 1", "Participant 2", "Observer"]
        for link in links:
            assert len(link.url) <= 100
            assert await lands_in(group, link.url, f"{GROUP}/one.ipynb") == link.role
        assert group.token not in group.said()
        assert group.token not in (tmp_path / "printed.txt").read_text()
    (group.folder / "one.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    before = files(group.folder)
    with group as again:
        assert again.links == links
        assert "goes on" in (tmp_path / "printed.txt").read_text()
        assert await lands_in(group, links[1].url, f"{GROUP}/one.ipynb") == "participant"
        said = again.stop()
    assert files(group.folder) == before
    assert f"jupyter collab start --root {group.root}" in said
    assert said.count("Shut down this Jupyter server") == 0


async def lands_in(group: StartedGroup, link: str, path: str) -> object:
    """The role of who opens the link, having seen that it leads to ``path``."""
    browser = Browser(group.url)
    try:
        page = await browser.open_link(link)
        found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page.body.decode(), re.DOTALL)
        assert found is not None
        config = json.loads(found[1])
        assert (config["treePath"], config["token"]) == (path, "")
        hidden = await browser.request("GET", "api/contents/.collab/links.key")
        assert hidden.status == 404
        me: Any = (await browser.request("GET", "api/me")).json()
        return me["identity"]["role"]
    finally:
        browser.close()


async def test_behind_a_proxy(tmp_path: Path, notebooks: Path) -> None:
    """A proxy passes on the path, and says how it was reached."""
    public = ("--public-url", "https://your.name/event/")
    with StartedGroup(tmp_path, "--people", "1", "--notebooks", str(notebooks), *public) as group:
        [tutor, _] = group.links
        assert tutor.url.startswith("https://your.name/event/join?key=")
        browser = Browser(group.url)
        path = tutor.url.removeprefix("https://your.name/")
        headers = {"Host": "your.name", "X-Forwarded-Proto": "https", **NAVIGATION}
        answer = await browser._send("GET", f"{group.url}/{path}", None, headers)
        browser.close()
    assert answer.status == 302
    assert answer.headers["Location"] == f"/event/lab/tree/{GROUP}/one.ipynb"
    assert "secure" in answer.headers["Set-Cookie"].lower()


def test_a_certificate_of_the_users_own_is_in_the_links(options: Options) -> None:
    class Server:
        certfile = "/cert.pem"
        base_url = "/deep/"

    event = prepare(options).served_by(Server())  # type: ignore[arg-type]  # what is looked at
    assert event.links()[0][1].startswith(f"https://127.0.0.1:{options.port}/deep/join?key=")
