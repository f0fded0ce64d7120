"""Traits, environment and the stock section, and what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigString

from jupyter_collab_ext.extension import JupyterCollab
from jupyter_collab_ext.settings import (
    NEVER,
    adopt_stock_section,
    describe,
    flag,
    redacted,
    sync_settings,
)
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits


def app(**traits: Any) -> JupyterCollab:
    """An app that is linked to no server."""
    return JupyterCollab(**traits)


def test_defaults_are_the_engine_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    settings = sync_settings(app(), "/root")
    assert settings.limits == Limits()
    assert settings.redis_url is None
    assert settings.state_dir == tmp_path / "collab"
    assert settings.namespace == "default"


def test_environment_beats_defaults_and_config_beats_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_COLLAB_REDIS_URL", "redis://:geheim@redis.example:6379/1")
    monkeypatch.setenv("JUPYTER_COLLAB_STATE_DIR", "/somewhere")
    monkeypatch.setenv("JUPYTER_COLLAB_DOCUMENT_SAVE_DELAY", "2.5")
    monkeypatch.setenv("JUPYTER_COLLAB_SAVE_CEILING", "9")
    monkeypatch.setenv("JUPYTER_COLLAB_DOCUMENT_CLEANUP_DELAY", "7")
    monkeypatch.setenv("JUPYTER_COLLAB_MAX_MESSAGE_SIZE", "2048")
    monkeypatch.setenv("JUPYTER_COLLAB_PEOPLE", "yes")
    configured = app()
    settings = sync_settings(configured, "/root")
    assert settings.redis_url == "redis://:geheim@redis.example:6379/1"
    assert settings.state_dir == Path("/somewhere")
    limits = settings.limits
    assert (limits.save_delay, limits.save_ceiling, limits.cleanup_delay) == (2.5, 9.0, 7.0)
    assert limits.max_message_size == 2048
    assert configured.people is True
    by_config = app(config=Config({"JupyterCollab": {"document_save_delay": 0.5}}))
    assert sync_settings(by_config, "/root").limits.save_delay == 0.5


def test_an_environment_variable_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_COLLAB_SAVE_CEILING", "five")
    with pytest.raises(ConfigError, match="JUPYTER_COLLAB_SAVE_CEILING can't be read"):
        sync_settings(app(), "/root")


def test_none_means_never(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = sync_settings(app(document_save_delay=None, document_cleanup_delay=None), "/root").limits
    assert (limits.save_delay, limits.save_ceiling, limits.cleanup_delay) == (NEVER, NEVER, NEVER)
    assert sync_settings(app(file_poll_interval=0), "/root").limits.file_poll_interval == NEVER


@pytest.mark.parametrize(
    ("traits", "says"),
    [
        ({"redis_url": "http://redis"}, "must begin with redis://"),
        ({"redis_url": "redis.example:6379"}, "must begin with redis://"),
        ({"save_ceiling": -1}, "save_ceiling is -1"),
        ({"document_save_delay": float("nan")}, "document_save_delay is nan"),
        ({"max_message_size": 10}, "max_message_size is 10"),
        ({"namespace": "a{b"}, "namespace may have"),
        ({"namespace": ""}, "namespace may have"),
    ],
)
def test_what_can_t_be_says_what_to_change(traits: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        sync_settings(app(**traits), "/root")


def test_stock_section_is_adopted_unless_ours_says_otherwise() -> None:
    configured = app()
    config = Config(
        {
            "YDocExtension": {
                "document_save_delay": DeferredConfigString("2.5"),
                "disable_rtc": True,
                "ystore_class": "x",
            },
            "JupyterCollab": {"disable_rtc": False},
        }
    )
    assert adopt_stock_section(configured, config, "JupyterCollab") == ("document_save_delay",)
    assert configured.document_save_delay == 2.5
    assert configured.disable_rtc is False


@pytest.mark.parametrize(("text", "value"), [("False", False), ("True", True), ("0", False), ("1", True)])
def test_stock_flags_of_the_command_line_are_parsed(text: str, value: bool) -> None:
    configured = app()
    config = Config({"YDocExtension": {"disable_rtc": DeferredConfigString(text)}})
    adopt_stock_section(configured, config, "JupyterCollab")
    assert configured.disable_rtc is value


def test_a_stock_value_that_can_t_be() -> None:
    config = Config({"YDocExtension": {"document_save_delay": DeferredConfigString("soon")}})
    with pytest.raises(ConfigError, match=r"YDocExtension\.document_save_delay"):
        adopt_stock_section(app(), config, "JupyterCollab")


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("FALSE", False)])
def test_flag(text: str, value: bool) -> None:
    assert flag(text) is value


def test_flag_takes_no_guess() -> None:
    with pytest.raises(ValueError, match="maybe"):
        flag("maybe")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "embedded"),
        ("redis://redis.example:6379/1", "redis://redis.example:6379/1"),
        ("rediss://ann:p%40ss@redis.example/0?password=x", "rediss://***@redis.example/0"),
        ("unix://:geheim@/run/redis.sock?db=1", "unix://***@/run/redis.sock"),
    ],
)
def test_redacted(url: str | None, shown: str) -> None:
    assert redacted(url) == shown


def test_nothing_of_the_password_is_shown() -> None:
    settings = sync_settings(app(redis_url="redis://ann:geheim@redis.example"), "/root")
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(describe(settings))
