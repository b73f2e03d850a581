"""One writer at a time, and no lock outlives its process."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.errors import OutputError
from landscape.storage.lock import hold_lock


class TestLock:
    def test_a_second_writer_is_refused_with_the_first_one_s_number(self, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        with (
            hold_lock(output),
            pytest.raises(OutputError, match=f"being written by process {os.getpid()}"),
            hold_lock(output),
        ):
            pass
        assert not list(tmp_path.iterdir())

    def test_a_lock_that_another_process_took_meanwhile_is_not_removed(self, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        with hold_lock(output):
            (tmp_path / f".{output.name}.lock").write_text("another's")
        assert [path.name for path in tmp_path.iterdir()] == [f".{output.name}.lock"]

    @pytest.mark.parametrize("content", ["dead", "", "{}", "[1]"], ids=["dead-process", "unsigned", "no-pid", "a-list"])
    def test_a_lock_whose_process_is_gone_is_taken_over(self, tmp_path: Path, content: str) -> None:
        output = tmp_path / "a.landscape.h5"
        if content == "dead":
            script = (
                "import os, sys; from pathlib import Path; from landscape.storage.lock import hold_lock\n"
                "with hold_lock(Path(sys.argv[1])): os._exit(0)"
            )
            subprocess.run([sys.executable, "-c", script, str(output)], check=True)
        else:
            (tmp_path / f".{output.name}.lock").write_text(content)
        assert len(list(tmp_path.iterdir())) == 1
        with hold_lock(output):
            pass
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        "content",
        [
            b"\xff\xfe" * 20,
            b"[" * 100_000,
            b'{"pid": ' + b"9" * 5000 + b', "host": "a", "started": "1"}',
            b'{"pid": 1e999, "host": "HOST", "started": "1"}',
            b'{"pid": 99999999999, "host": "HOST", "started": "1"}',
            b'{"pid": -1, "host": "HOST", "started": "1"}',
            b'{"pid": true, "host": "HOST", "started": "1"}',
            b'{"pid": "1", "host": ["HOST"], "started": {}}',
            b'{"pid": null}',
            b"null",
            b'{"pid": 1, "host": "ho',
        ],
        ids=lambda content: repr(content[:30]),
    )
    def test_a_damaged_lock_is_nobody_s(self, tmp_path: Path, content: bytes) -> None:
        output = tmp_path / "a.landscape.h5"
        (tmp_path / f".{output.name}.lock").write_bytes(content.replace(b"HOST", platform.node().encode()))
        with hold_lock(output):
            pass
        assert not list(tmp_path.iterdir())

    def test_a_huge_file_in_its_place_is_not_read(self, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        lock = tmp_path / f".{output.name}.lock"
        lock.touch()
        os.truncate(lock, 1 << 40)
        with hold_lock(output):
            pass
        assert not list(tmp_path.iterdir())

    def test_a_link_in_its_place_is_not_followed(self, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        os.mkfifo(tmp_path / "pipe")
        for target in ("/dev/zero", "nothing", f".{output.name}.lock", "pipe"):
            (tmp_path / f".{output.name}.lock").symlink_to(target)
            with hold_lock(output):
                pass
            assert [path.name for path in tmp_path.iterdir()] == ["pipe"]

    def test_a_pipe_or_a_directory_in_its_place_is_called_by_its_name(self, tmp_path: Path) -> None:
        output = tmp_path / "a.landscape.h5"
        lock = tmp_path / f".{output.name}.lock"
        for words, make, remove in (("a pipe", os.mkfifo, os.unlink), ("a directory", os.mkdir, os.rmdir)):
            make(lock)
            with pytest.raises(OutputError, match=f"lock is {words}, not the lock of a process\n.*delete it"):
                hold_lock(output).__enter__()
            assert list(tmp_path.iterdir()) == [lock]
            remove(lock)

    @pytest.mark.parametrize("known", [True, False], ids=["signed-with-the-boot", "of-an-earlier-version"])
    def test_a_lock_from_before_a_restart_of_the_machine_is_taken_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
    ) -> None:
        """After a restart another process may have the same number, started at the same tick."""
        output, boot = tmp_path / "a.landscape.h5", tmp_path / "boot_id"
        monkeypatch.setattr("landscape.storage.processes.BOOT_ID", boot)
        boot.write_text("monday\n")
        with hold_lock(output):
            signed = json.loads((tmp_path / f".{output.name}.lock").read_text())
        assert signed["boot"] == "monday"
        if not known:
            del signed["boot"]
        (tmp_path / f".{output.name}.lock").write_text(json.dumps(signed))
        with pytest.raises(OutputError, match="is being written by process"), hold_lock(output):
            pass
        boot.write_text("tuesday\n")
        if known:
            with hold_lock(output):
                pass
            assert not (tmp_path / f".{output.name}.lock").exists()

    def test_a_lock_of_another_host_is_left_alone(self, tmp_path: Path) -> None:
        lock = tmp_path / ".a.landscape.h5.lock"
        lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": "5"}))
        with (
            pytest.raises(OutputError, match=f"process 1 on elsewhere\n.*delete {lock}"),
            hold_lock(tmp_path / "a.landscape.h5"),
        ):
            pass

    def test_a_folder_that_cannot_be_written_is_named(self) -> None:
        with pytest.raises(OutputError, match="nothing can be written into /proc"), hold_lock(Path("/proc/a.h5")):
            pass

    def test_where_files_have_no_second_names_there_is_one_writer_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on exFAT, which USB disks and memory cards have."""

        def refuse(*names: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        output = tmp_path / "a.landscape.h5"
        with hold_lock(output):
            assert json.loads((tmp_path / f".{output.name}.lock").read_text())["pid"] == os.getpid()
            with pytest.raises(OutputError, match="being written by process"), hold_lock(output):
                pass
        assert not list(tmp_path.iterdir())
