"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from landscape.errors import OutputError
from landscape.storage import atomic_files
from landscape.storage.atomic_files import (
    draft_folder,
    move_files,
    move_folder,
    replace_file,
    resolve,
    write_new_file,
)


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append("replace"), replace(self, to)))
    replace_file(tmp_path / "a", b"content")
    assert order == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_draft_folder_is_removed_whatever_happens_and_a_full_disk_is_said(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with draft_folder(target) as folder:
        (folder / "a").touch()
        assert folder.parent == tmp_path
    with pytest.raises(ValueError, match="mine"), draft_folder(target) as folder:
        raise ValueError("mine")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    refused = pytest.raises(OutputError, match=r"run cannot be written: No space left on device\n  fix")
    with refused, draft_folder(target):
        raise full
    target.touch()
    with pytest.raises(OutputError, match="what was there before is untouched"), draft_folder(target):
        raise full
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_digest_of_its_pieces_and_replaces_nothing(tmp_path: Path) -> None:
    digest = write_new_file(tmp_path / "a", [b"one ", memoryview(b"two")])
    assert digest == hashlib.sha256(b"one two").hexdigest()
    assert (tmp_path / "a").read_bytes() == b"one two"
    with pytest.raises(FileExistsError):
        write_new_file(tmp_path / "a", [b"x"])


def test_files_are_moved_in_the_order_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (order.append(to.name), replace(self, to)))
    with draft_folder(tmp_path / "a") as folder:
        for name in ("x", "y"):
            write_new_file(folder / name, [name.encode()])
        move_files(folder, {"y": tmp_path / "undo", "x": tmp_path / "copy"})
    assert order == ["undo", "copy"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"undo": b"y", "copy": b"x"}


def test_a_folder_replaces_an_older_one_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "run"

    def move(content: str) -> None:
        with draft_folder(target) as folder:
            (folder / "a").write_text(content)
            move_folder(folder, target)

    move("first")
    move("second")
    assert (target / "a").read_text() == "second"
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: full() if self.name.endswith(".tmp") else rename(self, to))
    with pytest.raises(OutputError, match="No space left"):
        move("third")
    assert (target / "a").read_text() == "second"
    assert list(tmp_path.iterdir()) == [target]


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("make", ["circle", "long"])
def test_links_in_a_circle_and_names_that_no_file_can_have_are_said(tmp_path: Path, make: str) -> None:
    path = tmp_path / ("a" if make == "circle" else "a" * 5000)
    if make == "circle":
        path.symlink_to("b")
        (tmp_path / "b").symlink_to("a")
    words = "symbolic links|name too long"
    with pytest.raises(OutputError, match=rf"a(\.\.\.)? cannot be written: .*(?i:{words})\n.*elsewhere with -o FILE"):
        replace_file(path, b"content")
    with pytest.raises(OutputError, match=rf"a(\.\.\.)? cannot be written: .*(?i:{words})"):
        resolve(path)


@pytest.mark.parametrize(
    ("system", "refusals", "replaced"), [("Windows", 4, True), ("Windows", 5, False), ("Linux", 1, False)]
)
def test_on_windows_a_file_that_another_program_holds_for_a_moment_is_waited_for(
    system: str, refusals: int, replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, pauses, left = Path.replace, list[float](), [refusals]

    def held(self: Path, to: Path) -> Path:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "Access is denied")
        return replace(self, to)

    monkeypatch.setattr(atomic_files.platform, "system", lambda: system)
    monkeypatch.setattr(atomic_files.time, "sleep", pauses.append)
    monkeypatch.setattr(Path, "replace", held)
    (tmp_path / "a").write_text("before")
    if replaced:
        replace_file(tmp_path / "a", b"after")
    else:
        refused = pytest.raises(
            OutputError, match=r"Access is denied\n.*untouched\n.*close programs that have the file"
        )
        with refused:
            replace_file(tmp_path / "a", b"after")
    assert (tmp_path / "a").read_text() == ("after" if replaced else "before")
    assert len(list(tmp_path.iterdir())) == 1
    assert len(pauses) == (4 if system == "Windows" else 0)
    assert sum(pauses) < 1
