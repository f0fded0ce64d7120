"""An MCP client that starts jupyter-mcp-server as MCP hosts do, over its standard input and output.

Arguments: the Jupyter server's address and its token.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from mcp.client import Client  # type: ignore[import-not-found]  # its own environment's
from mcp.client.stdio import StdioServerParameters  # type: ignore[import-not-found]  # its own environment's
from rpc import serve  # type: ignore[import-not-found]  # beside this script


async def main(server: str, token: str) -> None:
    command = str(Path(sys.executable).with_name("jupyter-mcp-server"))
    arguments = ["--transport", "stdio", "--jupyter-url", server, "--jupyter-token", token]
    parameters = StdioServerParameters(
        command=command, args=[*arguments, "--start-new-code-sandbox", "false"]
    )
    async with Client(parameters) as client:

        async def tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            result = await client.call_tool(name, arguments)
            texts = [item.text for item in result.content if hasattr(item, "text")]
            return {"text": "\n".join(texts), "failed": bool(result.is_error)}

        async def tools() -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        await serve({"tool": tool, "tools": tools})


asyncio.run(main(*sys.argv[1:]))
