"""Lets a test steer a client that lives in another environment: one JSON object a line, in and out.

It runs in that environment, so it needs the standard library only. A request is ``{"call": name, "with":
{...}}``, an answer ``{"answer": ...}`` or ``{"error": "..."}``. Standard output carries nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Call = Callable[..., Awaitable[Any]]


async def serve(calls: Mapping[str, Call]) -> None:
    """Answer requests until standard input ends."""
    out, sys.stdout = sys.stdout, sys.stderr  # a client that prints must not break the protocol
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        try:
            answer: dict[str, object] = {"answer": await calls[request["call"]](**request["with"])}
        except Exception:  # noqa: BLE001 - whatever the client raises is the test's to see
            answer = {"error": traceback.format_exc()}
        out.write(json.dumps(answer) + "\n")
        out.flush()
