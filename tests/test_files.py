"""A whole file is written atomically, with the mode that its folder asks for."""

import os
from pathlib import Path

import pytest

from livekit_exporter import files


@pytest.mark.parametrize(
    ("folder_mode", "wanted", "file_mode"),
    [
        pytest.param(0o700, None, 0o600, id="private"),
        pytest.param(0o2770, None, 0o660, id="shared with a group"),
        pytest.param(0o2770, 0o600, 0o600, id="a secret in a shared folder"),
    ],
)
def test_a_file_is_replaced_as_a_whole_with_its_mode(
    tmp_path: Path, folder_mode: int, wanted: int | None, file_mode: int
) -> None:
    """Nothing else is left in the folder, also where a crash left a half one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(folder_mode)
    (folder / ".target.json.tmp").write_text("half of an earlier one, and longer")
    before = os.umask(0o077)
    try:
        for text in (b"first", b"second"):
            files.write_atomically(folder / "target.json", text, mode=wanted)
    finally:
        os.umask(before)

    (path,) = folder.iterdir()
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o7777 == file_mode


def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data must be on the disk before the name is: a failing fsync is a failing write."""
    path = tmp_path / "target.json"
    files.write_atomically(path, b"first")

    def broken(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, b"second")

    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [
        ("target.json", b"first")
    ]
