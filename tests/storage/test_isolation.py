"""Results files are read in a process of their own: no damage keeps this one, takes its memory, or crashes it."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import run_command
from storage_records import Record, make_record, write_record

from landscape.errors import OutputError
from landscape.storage import isolation
from landscape.storage.isolation import (
    is_written_here,
    remember_written,
    require_regular,
    run_isolated,
)
from landscape.storage.paths import MARK
from landscape.storage.read import read_in_process, read_results, to_record
from landscape.storage.write import require_results_file, write_results

WALL_SECONDS = 10.0  # on a busy machine; the process itself computes for half a second
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")


def endless(_: Path) -> bytes:
    while True:
        pass


def hungry(_: Path) -> bytes:
    return bytes(bytearray(1 << 34)[:1])


def crashing(_: Path) -> bytes:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def failing(_: Path) -> bytes:
    raise ValueError("a reason")


def refusing(_: Path) -> bytes:
    raise OutputError("what", why="why", fix="fix")


def exiting(_: Path) -> bytes:
    sys.exit(0)


def answering(file: Path) -> bytes:
    return file.read_bytes() + b" and \xff\n" * 100_000


@pytest.fixture(params=["spawned", pytest.param("forked", marks=linux)])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of making the process: the quick one is taken where there are neither threads nor torch."""
    monkeypatch.setattr(isolation, "_is_simple", lambda: request.param == "forked")
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.landscape.h5").write_bytes(b"content")
    return tmp_path / "a.landscape.h5"


@pytest.mark.usefixtures("way")
class TestOtherProcess:
    def test_its_answer_arrives_whole(self, file: Path) -> None:
        assert run_isolated(answering, file) == answering(file)

    @linux
    def test_reading_without_end_is_ended(self, file: Path) -> None:
        begin = time.monotonic()
        with pytest.raises(OutputError, match=r"a\.landscape\.h5 is damaged: reading it does not end\n.*measure again"):
            run_isolated(endless, file)
        assert time.monotonic() - begin < WALL_SECONDS

    @linux
    def test_more_memory_than_the_file_is_worth_is_refused(self, file: Path) -> None:
        with pytest.raises(OutputError, match="asks for more memory than its size is worth"):
            run_isolated(hungry, file)

    @linux
    def test_a_sparse_file_is_worth_what_it_has_on_the_disk(self, file: Path) -> None:
        os.truncate(file, 1 << 40)
        begin = time.monotonic()
        with pytest.raises(OutputError, match="does not end"):
            run_isolated(endless, file)
        with pytest.raises(OutputError, match="asks for more memory than its size is worth"):
            run_isolated(hungry, file)
        assert time.monotonic() - begin < WALL_SECONDS

    @pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
    def test_a_crash_of_the_library_stays_there(self, file: Path) -> None:
        with pytest.raises(OutputError, match="the HDF5 library crashes on it"):
            run_isolated(crashing, file)

    def test_a_process_that_says_nothing_is_a_crash(self, file: Path) -> None:
        with pytest.raises(OutputError, match="the HDF5 library crashes on it"):
            run_isolated(exiting, file)

    def test_any_exception_is_damage(self, file: Path) -> None:
        with pytest.raises(OutputError, match="is damaged: a reason"):
            run_isolated(failing, file)

    def test_an_error_of_landscape_keeps_its_parts(self, file: Path) -> None:
        with pytest.raises(OutputError, match=r"what\n  why:  why\n  fix:  fix"):
            run_isolated(refusing, file)


class TestOutputs:
    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        files: list[Path] = []

        def start(_: object, file: Path) -> tuple[bytes, int]:
            files.append(file)
            return b"+" + file.read_bytes(), 0

        monkeypatch.setattr(isolation, "_by_spawn", start)
        monkeypatch.setattr(isolation, "_by_fork", start)
        return files

    def test_an_output_is_kept_until_the_file_changes(self, file: Path, started: list[Path]) -> None:
        for _ in range(2):
            assert run_isolated(answering, file) == b"content"
        assert len(started) == 1
        file.write_bytes(b"other content")
        assert run_isolated(answering, file) == b"other content"
        assert run_isolated(failing, file) == b"other content"
        assert len(started) == 3

    def test_no_more_outputs_are_kept_than_one_measurement_needs(self, tmp_path: Path, started: list[Path]) -> None:
        for number in range(10):
            (tmp_path / str(number)).write_bytes(b"content")
            run_isolated(answering, tmp_path / str(number))
        assert len(isolation._outputs) == isolation.MAX_KEPT
        run_isolated(answering, tmp_path / "9")
        assert len(started) == 10

    def test_an_error_is_kept_too(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        started = []

        def start(*_: object) -> tuple[bytes, int]:
            started.append(1)
            return b"", 11

        monkeypatch.setattr(isolation, "_by_spawn", start)
        monkeypatch.setattr(isolation, "_by_fork", start)
        for _ in range(2):
            with pytest.raises(OutputError, match="crashes on it"):
                run_isolated(answering, file)
        assert len(started) == 1

    def test_a_file_is_no_longer_one_s_own_after_a_change(self, file: Path) -> None:
        assert not is_written_here(file)
        remember_written(file)
        assert is_written_here(file)
        file.write_bytes(b"damaged since then")
        assert not is_written_here(file)
        assert not is_written_here(file.with_name("missing"))


def test_a_process_that_cannot_be_started_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: object) -> tuple[bytes, int]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    for name in ("_by_spawn", "_by_fork"):
        monkeypatch.setattr(isolation, name, no_process)
    with pytest.raises(OutputError, match="cannot be started: Resource temporarily unavailable"):
        run_isolated(answering, file)


class TestSpecialFiles:
    @pytest.fixture
    def special(self, tmp_path: Path) -> dict[str, Path]:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "socket"))
        (tmp_path / "link").symlink_to("pipe")
        return {
            "a pipe": tmp_path / "pipe",
            "a directory": tmp_path / "folder",
            "a socket": tmp_path / "socket",
            "a device": Path("/dev/zero"),
            "is a pipe": tmp_path / "link",
        }

    @pytest.mark.skipif(os.name == "nt", reason="files as POSIX has them")
    def test_they_are_called_by_their_names_and_never_opened(self, special: dict[str, Path]) -> None:
        for words, path in special.items():
            for read in (require_regular, read_results, require_results_file):
                with pytest.raises(OutputError, match=f"{words}, not a results file"):
                    read(path)

    def test_a_regular_file_and_none_are_no_special_ones(self, file: Path) -> None:
        require_regular(file)
        require_regular(file.with_name("missing"))


@pytest.fixture
def endless_file(tmp_path: Path) -> Path:
    """64 bytes of zero in the heap of attributes: libhdf5 2.0 loops on them."""
    path = tmp_path / "a.landscape.h5"
    about = {f"text_{number}": "x" * (20 + number) for number in range(20)}
    write_results(path, "demo", make_record(), {"status": "complete", **about})
    content = bytearray(path.read_bytes())
    begin = content.find(b"GCOL") + 1640
    content[begin : begin + 64] = bytes(64)
    path.write_bytes(content)
    return path


@linux
def test_a_damaged_heap_is_refused_by_readers_and_writers(endless_file: Path) -> None:
    begin = time.monotonic()
    for use in (
        lambda: read_results(endless_file),
        lambda: require_results_file(endless_file),
        lambda: write_results(endless_file, "other", make_record(), {}),
    ):
        with pytest.raises(OutputError, match="reading it does not end"):
            use()
    assert time.monotonic() - begin < WALL_SECONDS


@linux
def test_the_command_says_in_time_that_reading_does_not_end(endless_file: Path) -> None:
    for words in (["show"], ["plot"], ["export", "--csv"], ["check", "--from"]):
        shown = run_command(*words, str(endless_file))
        assert shown.returncode == 2
        assert "a.landscape.h5 is damaged: reading it does not end" in shown.stderr


def test_a_file_without_the_mark_is_refused_without_hdf5(endless_file: Path) -> None:
    endless_file.write_bytes(endless_file.read_bytes().replace(MARK.encode(), b"x" * len(MARK)))
    with pytest.raises(OutputError, match="was not written by landscape"):
        require_results_file(endless_file)


def test_scales_that_are_no_references_are_damage_for_a_second_measurement(tmp_path: Path) -> None:
    """h5py crashes on them now and then, and otherwise raises."""
    path = tmp_path / "a.landscape.h5"
    write_record(path)
    with h5py.File(path, "r+") as file:
        file["demo/heights"].attrs["DIMENSION_LIST"] = "no references"
    read_results(path)
    with pytest.raises(OutputError, match="is damaged"):
        require_results_file(path)


def test_what_comes_from_the_other_process_is_what_this_one_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.landscape.h5"
    written = write_record(path, extra=np.array([1.0, np.nan, np.inf]), total=float("nan"))
    here = read_in_process(path)["demo"]
    os.utime(path, (1, 1))  # another file than the one that was written
    there = read_results(path)["demo"]
    assert there.attributes == here.attributes
    assert {name: type(value) for name, value in there.values.items()} == {
        name: type(value) for name, value in here.values.items()
    }
    for name, value in here.values.items():
        np.testing.assert_array_equal(there.values[name], value)
        assert np.asarray(there.values[name]).dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(to_record(Record, there).heights, written.heights)
