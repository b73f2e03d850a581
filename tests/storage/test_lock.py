"""One writer at a time, and no lock outlives its process."""

from __future__ import annotations

import json
import os
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

    @pytest.mark.parametrize("content", ["dead", "", "{}"], ids=["dead-process", "unsigned", "no-pid"])
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
