"""A folder elsewhere that a link below the root leads into: only where that was agreed."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.core.errors import FileOutsideRoot
from notebook_sync.core.limits import Limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("root", "big", "big-secret"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "table.csv").write_text(folder)
    root = tmp_path / "root"
    (root / "data").symlink_to(tmp_path / "big")
    (root / "other").symlink_to(tmp_path / "big-secret")
    (tmp_path / "big" / "out").symlink_to(tmp_path / "big-secret")
    return root


async def test_a_shared_folder_is_read_through_its_link(root: Path) -> None:
    async with LocalFiles(root, Limits(), shared=[root / "data"]) as files:
        assert (await files.read("data/table.csv")).data == b"big"
        assert (await files.read("table.csv")).data == b"root"
        for path in ("other/table.csv", "data/out/table.csv", "data/../table.csv"):
            with pytest.raises(FileOutsideRoot):
                await files.read(path)


async def test_without_it_every_link_out_is_refused(root: Path) -> None:
    async with LocalFiles(root, Limits()) as files:
        with pytest.raises(FileOutsideRoot):
            await files.read("data/table.csv")
