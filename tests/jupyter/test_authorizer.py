"""What each role gets at each endpoint: 2xx where it may, 403 or 404 where it may not, never a 500."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest

from jupyter_collab_ext.people import GROUP
from jupyter_collab_ext.simulated import Browser
from tests.support.people_here import ROLES, Event

# Jupyter says so of terminals' sockets, which ask for a login by themselves.
pytestmark = pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning")

NOTEBOOK = f"{GROUP}/work.ipynb"
WHO = {**ROLES, "organiser": "organiser", "nobody": "nobody"}
ALL = ("organiser", "tutor", "participant", "observer")
EDITORS = ("organiser", "tutor", "participant")
ORGANISERS = ("organiser",)
REFUSED = (403, 404)
"""404: out of reach, which is as if it did not exist. ``test_access`` says which it must be."""
NO_KERNEL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Case:
    """An endpoint, and who gets through to it; what it answers them is in ``answers``."""

    method: str
    path: str
    allowed: tuple[str, ...]
    answers: tuple[int, ...] = (200,)
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


DOCUMENT = {"format": "json", "type": "notebook"}
TEXT = {"type": "file", "format": "text", "content": "x"}
SHARED = {"format": "json", "type": "notebook"}
CASES = [
    Case("GET", "api", (*ALL, "nobody")),
    Case("GET", "api/status", ALL),
    Case("GET", "api/me", ALL),
    Case("GET", "api/contents", ALL),
    Case("GET", f"api/contents/{NOTEBOOK}", ALL),
    Case("GET", f"api/contents/{NOTEBOOK}/checkpoints", ALL),
    Case("POST", f"api/contents/{NOTEBOOK}/checkpoints", EDITORS, (201,)),
    Case("POST", "api/contents/.state/people.json/checkpoints", ORGANISERS, (201,)),
    Case("POST", "api/contents/%2estate/people.json/checkpoints/checkpoint", ORGANISERS, (204,)),
    Case("PUT", f"api/contents/{GROUP}/new.txt", EDITORS, (201,), TEXT),
    Case("POST", f"api/contents/{GROUP}", EDITORS, (201,), {"type": "file"}),
    Case("PATCH", f"api/contents/{GROUP}/none.txt", EDITORS, (404,), {"path": f"{GROUP}/other.txt"}),
    Case("DELETE", f"api/contents/{GROUP}/none.txt", EDITORS, (404,)),
    # folders called like endpoints that an observer may write to
    Case("PUT", f"api/contents/{GROUP}/api/collaboration/session/x.txt", EDITORS, (201,), TEXT),
    Case("POST", f"api/contents/{GROUP}/api/sessions", EDITORS, (201,), {"type": "file"}),
    Case("GET", f"files/{NOTEBOOK}", ALL, (200, 403)),  # 403: no Referer of this server
    Case("GET", "api/kernelspecs", ALL),
    Case("GET", "api/kernels", ALL),
    Case("POST", f"api/kernels/{NO_KERNEL}/interrupt", EDITORS, (404,)),
    Case("POST", f"api/kernels/{NO_KERNEL}/restart", EDITORS, (404, 500)),  # Jupyter's own 500 for no kernel
    Case("DELETE", f"api/kernels/{NO_KERNEL}", EDITORS, (404,)),
    Case("GET", "api/sessions", ALL),
    Case("DELETE", f"api/sessions/{NO_KERNEL}", EDITORS, (404,)),
    Case("PATCH", f"api/sessions/{NO_KERNEL}", ALL, (404,), {"path": "x.ipynb"}),
    Case("POST", "api/sessions", EDITORS, (400,), {"type": "console"}),
    Case("GET", "api/terminals", ORGANISERS),
    Case("DELETE", "api/terminals/1", ORGANISERS, (404,)),
    Case("GET", "api/config/notebook", ALL),
    Case("PUT", "api/config/notebook", ORGANISERS, (204,), {}),
    Case("PATCH", "api/config/notebook", ORGANISERS, (200,), {}),
    Case("PUT", f"api/collaboration/session/{NOTEBOOK}", ALL, (200, 201), DOCUMENT),
    Case("GET", "api/collaboration/status", ORGANISERS),
    Case("GET", f"api/fileid/id?path={NOTEBOOK}", ALL, (200, 404)),
    Case("GET", "api/fileid/path?id=none", ALL, (404,)),
    Case("GET", "lab/api/settings", ALL),
    Case("GET", "lab/api/workspaces", ALL),
    Case("GET", "lab/api/extensions?installed=1", ORGANISERS),
    Case("POST", "lab/api/extensions", ORGANISERS, (400, 422, 500), {}),
    Case("GET", "lab/api/plugins", ORGANISERS),
    Case("POST", "lab/api/plugins", ORGANISERS, (400, 500), {}),
    Case("GET", "lab/api/build", ALL, (200, 404)),
    Case("GET", "metrics", ORGANISERS),
    Case("GET", f"nbconvert/html/{NOTEBOOK}", ALL),
]  # fmt: skip


@pytest.mark.parametrize("role", WHO)
async def test_every_endpoint(event: Event, role: str, jp_root_dir: Any) -> None:
    (jp_root_dir / GROUP / "api" / "collaboration" / "session").mkdir(parents=True)
    (jp_root_dir / GROUP / "api" / "sessions").mkdir()
    (jp_root_dir / ".state").mkdir()
    (jp_root_dir / ".state" / "people.json").write_text("{}")
    wrong = []
    async with event.browser(WHO[role]) as browser:
        for case in CASES:
            answer = await browser.request(case.method, case.path, body=case.body)
            if role in case.allowed:
                right = answer.status in case.answers
            else:
                right = answer.status in REFUSED or (role == "nobody" and _to_login(answer))
            if not right:
                wrong.append(f"{case}: {answer.status} {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)


def _to_login(answer: Any) -> bool:
    return answer.status == 302 and "/login" in answer.headers["Location"]


@pytest.mark.parametrize("role", [*ROLES, "nobody"])
async def test_the_server_is_shut_down_by_organisers_only(event: Event, role: str) -> None:
    async with event.browser(WHO[role]) as browser:
        assert (await browser.request("POST", "api/shutdown", body={})).status == 403
        assert (await browser.request("GET", "api")).status == 200


# --- what an observer may start -----------------------------------------------------------------------


def opening(path: str, **changes: Any) -> dict[str, Any]:
    return {"path": path, "type": "notebook", "name": path.rpartition("/")[2], **changes}


async def session(browser: Browser, body: object) -> tuple[int, dict[str, Any]]:
    answer = await browser.request("POST", "api/sessions", body=body)
    return answer.status, cast(dict[str, Any], json.loads(answer.body))


async def test_an_observer_opens_the_notebook_as_jupyterlab_does(event: Event) -> None:
    async with event.browser("observer-1") as observer, event.browser("tutor-1") as tutor:
        temporary = f"{GROUP}/0b1c2d3e-1111-4222-8333-444455556666"
        status, made = await session(observer, opening(temporary, name="work.ipynb"))
        assert (status, made["path"]) == (201, temporary)
        same = {"path": NOTEBOOK}
        assert (await observer.request("PATCH", f"api/sessions/{made['id']}", body=same)).status == 200
        status, seen = await session(tutor, opening(NOTEBOOK))
        assert (status, seen["id"], seen["kernel"]["id"]) == (201, made["id"], made["kernel"]["id"])
        changes: list[object] = [
            {"path": f"{GROUP}/other.ipynb"},
            {"kernel": {"name": "python3"}},
            {"path": NOTEBOOK, "kernel": {"name": "python3"}},
            {},
            [],
        ]
        for change in changes:
            answer = await observer.request("PATCH", f"api/sessions/{made['id']}", body=change)
            assert answer.status == 403, change
        assert (await observer.request("DELETE", f"api/sessions/{made['id']}")).status == 403
        kernel = made["kernel"]["id"]
        assert (await observer.request("POST", f"api/kernels/{kernel}/interrupt")).status == 403
        assert (await observer.request("DELETE", f"api/kernels/{kernel}")).status == 403
        assert (await tutor.request("DELETE", f"api/sessions/{made['id']}")).status == 204


@pytest.mark.parametrize(
    "body",
    [
        opening(f"{GROUP}/none.ipynb"),
        opening(f"{GROUP}/notes.txt"),
        opening(NOTEBOOK, type="console"),
        opening(NOTEBOOK, kernel={"id": NO_KERNEL}),
        opening(NOTEBOOK, kernel=["python3"]),
        {"type": "notebook"},
        {"path": 1, "type": "notebook"},
        ["path"],
    ],
    ids=str,
)
async def test_an_observer_starts_no_other_kernel(event: Event, body: object, jp_serverapp: Any) -> None:
    async with event.browser("observer-1") as observer:
        assert (await session(observer, body))[0] in REFUSED
    assert jp_serverapp.kernel_manager.list_kernel_ids() == []
