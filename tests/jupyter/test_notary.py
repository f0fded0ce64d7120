"""Trust in notebooks is Jupyter's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.sign import MemorySignatureStore, NotebookNotary

from jupyter_collab_ext.notary import NotebookSigner


@pytest.fixture
def notary(tmp_path: Path) -> NotebookNotary:
    """A notary with a key and a store of its own."""
    return NotebookNotary(data_dir=str(tmp_path), secret=b"key", store_factory=MemorySignatureStore)


def content(source: str = "x = 1") -> bytes:
    """A notebook's file content, the same each time."""
    cell = nbformat.v4.new_code_cell(source, id="a1")
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))).encode()


async def test_what_was_signed_is_trusted(notary: NotebookNotary) -> None:
    signer = NotebookSigner(notary)
    assert not signer.is_trusted(content())
    signer.sign(content())
    assert signer.is_trusted(content())
    assert not signer.is_trusted(content("x = 2"))


async def test_the_signature_is_the_contents_api_s(notary: NotebookNotary) -> None:
    notary.sign(nbformat.reads(content().decode(), as_version=4))
    assert NotebookSigner(notary).is_trusted(content())


async def test_ours_is_good_for_the_contents_api(notary: NotebookNotary) -> None:
    NotebookSigner(notary).sign(content())
    assert notary.check_signature(nbformat.reads(content().decode(), as_version=4))


async def test_an_old_notebook_is_signed_as_it_is_read(notary: NotebookNotary) -> None:
    old = nbformat.v3.writes_json(nbformat.v3.new_notebook(worksheets=[nbformat.v3.new_worksheet()])).encode()
    NotebookSigner(notary).sign(old)
    assert NotebookSigner(notary).is_trusted(old)


async def test_it_works_from_a_thread(notary: NotebookNotary) -> None:
    signer = NotebookSigner(notary)
    await asyncio.to_thread(signer.sign, content())
    assert await asyncio.to_thread(signer.is_trusted, content())


async def test_the_database_stays_in_its_thread(tmp_path: Path) -> None:
    signer = NotebookSigner(NotebookNotary(data_dir=str(tmp_path), db_file=str(tmp_path / "signatures.db")))
    await asyncio.to_thread(signer.sign, content())
    assert await asyncio.to_thread(signer.is_trusted, content())
    assert not await asyncio.to_thread(signer.is_trusted, content("x = 2"))
    signer._notary.store.close()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"nbformat": "x"}'])
async def test_what_is_no_notebook_is_not_trusted_and_raises_nothing(
    notary: NotebookNotary, data: bytes
) -> None:
    signer = NotebookSigner(notary)
    signer.sign(data)
    assert not signer.is_trusted(data)


async def test_the_server_s_own_notary_is_used(server: Any) -> None:
    signer = NotebookSigner(server.contents_manager.notary)
    signer.sign(content())
    assert server.contents_manager.notary.check_signature(nbformat.reads(content().decode(), as_version=4))
