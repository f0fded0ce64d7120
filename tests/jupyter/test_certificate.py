"""A certificate of one's own: links begin with https, and the server speaks it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from jupyter_collab_ext.simulated.browser import NAVIGATION
from tests.support.started_group import StartedGroup

pytestmark = pytest.mark.system


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Certificate and key of 127.0.0.1."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("SKIPPED: openssl is needed to make a certificate")
    made, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made), "-keyout", str(key)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return made, key


def test_links_with_a_certificate(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    made, key = certificate
    with StartedGroup(tmp_path, "--people", "1", "--certfile", str(made), "--keyfile", str(key)) as group:
        link = group.links[0].url
        assert link.startswith("https://127.0.0.1:")
        with httpx.Client(verify=ssl.create_default_context(cafile=str(made))) as browser:
            first = browser.get(link, headers=NAVIGATION)
            assert first.status_code == 302
            assert "secure" in first.headers["Set-Cookie"].lower()
            assert browser.get(f"{link.split('/join')[0]}/api/me").json()["identity"]["role"] == "tutor"
        said = group.stop()
    assert "Nothing is encrypted" not in said
    assert f"--certfile {made} --keyfile {key}" in said
