"""What is said of a proxy that is set up wrong: a real one in front of a real stand-in."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_collab_ext.cli import proxy_probe
from jupyter_collab_ext.cli.proxy_probe import Reached, look, look_at_running
from tests.support.reverse_proxy import ReverseProxy
from tests.support.stock_server import free_port


async def through(**fault: Any) -> Reached:
    port = free_port()
    async with ReverseProxy(("127.0.0.1", port), **fault) as proxy:
        return await look(proxy.url, "127.0.0.1", port)


async def test_a_proxy_that_passes_everything_on() -> None:
    assert await through() == Reached()


async def test_below_a_path() -> None:
    port = free_port()
    async with ReverseProxy(("127.0.0.1", port)) as proxy:
        assert await look(f"{proxy.url}course/one", "127.0.0.1", port) == Reached()


@pytest.mark.parametrize(
    ("fault", "wrong", "setting"),
    [
        ({"drops": {"upgrade"}}, "does not pass websockets on", "proxy_set_header Upgrade $http_upgrade"),
        ({"host": "127.0.0.1:1"}, "instead of", "proxy_set_header Host"),
        ({"most": 1024**2}, "is answered 413", "client_max_body_size"),
    ],
)
async def test_the_missing_setting_is_named(fault: dict[str, Any], wrong: str, setting: str) -> None:
    found = await through(**fault)
    assert wrong in found.wrong
    assert setting in found.do


async def test_a_proxy_that_asks_somebody_else() -> None:
    port, other = free_port(), free_port()
    async with ReverseProxy(("127.0.0.1", other)) as proxy:
        found = await look(proxy.url, "127.0.0.1", port)
        assert "502" in found.wrong
        assert f"http://127.0.0.1:{port}" in found.do
        async with proxy_probe.stand_in("127.0.0.1", other, "/"):
            found = await look(proxy.url, "127.0.0.1", port)
        assert "something else answers" in found.wrong


async def test_no_proxy_at_all() -> None:
    found = await look(f"http://127.0.0.1:{free_port()}/", "127.0.0.1", free_port())
    assert "can't be reached" in found.wrong
    assert "start the proxy" in found.do


async def test_a_taken_port() -> None:
    port = free_port()
    async with proxy_probe.stand_in("127.0.0.1", port, "/"):
        found = await look(f"http://127.0.0.1:{port}/", "127.0.0.1", port)
    assert "can't be listened at" in found.wrong


async def test_tls_that_the_proxy_keeps_to_itself() -> None:
    found = await proxy_probe._headers("https://x.example/", {"host": "y.example", "proto": ""})
    assert "instead of 'x.example'" in found.wrong


async def test_a_running_server(server: Any, jp_http_port: int, jp_base_url: str) -> None:
    token = server.identity_provider.token
    async with ReverseProxy(("127.0.0.1", jp_http_port)) as proxy:
        assert await look_at_running(proxy.url + jp_base_url.strip("/"), token) == Reached()
        assert (await look_at_running(proxy.url + jp_base_url.strip("/"), "wrong")).wrong
    async with ReverseProxy(("127.0.0.1", jp_http_port), drops={"upgrade"}) as proxy:
        found = await look_at_running(proxy.url + jp_base_url.strip("/"), token)
    assert "does not pass websockets on" in found.wrong
