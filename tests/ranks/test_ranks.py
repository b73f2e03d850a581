"""Several processes measure together: the same bits as one, one voice, and an end in words when one of them fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rank_processes

HERE = Path(__file__).parent
SAME_BITS = ("eig", "trace", "surface")  # the analyses that four ranks repeat


def measure(size: int, folder: Path, dtype: str = "float32", *names: str) -> dict[str, Any]:
    ended = rank_processes.together([str(HERE / "every_analysis.py"), dtype, *names], size, folder)
    assert ended.codes == (0,) * size, ended.errors
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_every_analysis_has_the_bits_of_one_process_on_two_and_on_four(tmp_path: Path) -> None:
    alone = measure(1, tmp_path)
    assert measure(2, tmp_path) == alone
    assert measure(4, tmp_path, "float32", *SAME_BITS) == {name: alone[name] for name in SAME_BITS}


def test_three_processes_agree_to_rounding(tmp_path: Path) -> None:
    one, three = (measure(size, tmp_path, "float64", "eig")["eig"] for size in (1, 3))
    assert three == pytest.approx(one, rel=1e-12)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_sums_of_tensors_over_ranks(size: int, tmp_path: Path) -> None:
    ended = rank_processes.together([str(HERE / "sums_of_tensors.py")], size, tmp_path)
    assert ended.codes == (0,) * size, ended.errors
    assert all(json.loads(ended.out).values()), ended.out


EIG = ("eig", "net.pt", "--model", "faulty.py:build", "--data", "faulty.py:data", "--loss", "cross_entropy", "-k", "3")


def eig(size: int, folder: Path, *more: str, **asked: str) -> rank_processes.Ended:
    words = [str(HERE / "command.py"), *EIG, "--no-plot", *more]
    return rank_processes.together(words, size, folder, asked)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"FAULT": "raise"}, "rank 1: the second derivative fails: ValueError: a bad batch"),
        ({"FAULT": "kill"}, "rank 1 has ended without a word"),
        ({"FAULT": "memory"}, "rank 1: one sample alone does not fit into memory"),
        ({"FAULT": "load"}, "rank 1: data factory faulty.py:data() failed: OSError: no such shard"),
        ({"FAULT": "data"}, "rank 1 measures something else than rank 0"),
        ({"FULL_DISK": "0"}, "nothing can be written into .: File too large"),
    ],
    ids=["bad batch", "killed", "memory", "load", "other data", "full disk"],
)
def test_a_rank_that_fails_is_named_with_its_cause(asked: dict[str, str], what: str, checkpoint: Path) -> None:
    ended = eig(2, checkpoint, **asked)
    assert what in ended.err
    assert ended.err.count("error: ") == 1
    assert "Traceback" not in ended.err
    assert ended.codes[0] == 2
    assert ended.codes[1] != 0
    assert ended.errors[1] == ""


@pytest.mark.parametrize(("fault", "code", "size"), [("term", 143, 1), ("kill", 2, 4)])
def test_work_of_two_ranks_is_resumed_by_others(fault: str, code: int, size: int, checkpoint: Path) -> None:
    def values(ended: rank_processes.Ended) -> Any:
        assert ended.codes[0] == 0, ended.err
        return json.loads(ended.out)["result"]["eigenvalues"]

    whole = values(eig(1, checkpoint, "--json", "-o", "whole.h5"))
    output = "cut.h5"
    assert eig(2, checkpoint, "-o", output, FAULT=fault, AFTER="60").codes[0] == code
    assert (checkpoint / "cut.eig.partial").exists()
    resumed = eig(size, checkpoint, "--json", "-o", output)
    assert "resumed from cut.eig.partial" in resumed.err
    assert values(resumed) == whole


def test_ranks_are_compared_before_earlier_work_is(checkpoint: Path) -> None:
    assert eig(2, checkpoint, FAULT="term", AFTER="40").codes == (143, 143)
    ended = eig(2, checkpoint, FAULT="data")
    assert "rank 1 measures something else than rank 0" in ended.err
    assert "unfinished work" not in ended.err


def test_a_checkpoint_that_fails_on_one_rank_is_left_out_by_all(checkpoint: Path) -> None:
    (checkpoint / "other.pt").write_bytes((checkpoint / "net.pt").read_bytes())
    words = [str(HERE / "command.py"), "eig", "net.pt", "other.pt", *EIG[2:], "--no-plot", "--json"]
    ended = rank_processes.together(words, 2, checkpoint, {"FAULT": "first load"})
    assert ended.codes == (2, 2), ended.errors
    failed, measured = sorted(json.loads(ended.out), key=lambda document: document["status"] == "complete")
    assert "rank 1: data factory" in failed["error"]
    assert measured["checkpoint"]["path"].endswith("other.pt")


def test_a_rank_that_is_lost_ends_the_work_on_all_checkpoints(checkpoint: Path) -> None:
    (checkpoint / "other.pt").write_bytes((checkpoint / "net.pt").read_bytes())
    words = [str(HERE / "command.py"), "eig", "net.pt", "other.pt", *EIG[2:], "--no-plot"]
    ended = rank_processes.together(words, 2, checkpoint, {"FAULT": "kill"})
    assert ended.codes[0] == 2
    assert ended.err.count("error: ") == 1
    assert "rank 1 has ended without a word" in ended.err


def test_buffers_that_change_on_one_rank_are_found_on_all(checkpoint: Path) -> None:
    words = [str(HERE / "command.py"), *EIG, "--no-plot"]
    ended = rank_processes.together(words, 2, checkpoint, {"FAULT": "buffer"})
    assert ended.codes == (3, 3), ended.errors
    assert "the forward pass changed seen during the measurement" in ended.err


def test_a_launcher_that_ends_the_others_leaves_them_time_for_the_cause(checkpoint: Path) -> None:
    words = ["-m", "landscape", *EIG, "--no-plot", "--devices", "2"]
    ended = rank_processes.wait([rank_processes.alone(words, checkpoint, FAULT="load")])
    assert ended.codes == (2,)
    assert "rank 1: data factory faulty.py:data() failed: OSError: no such shard" in ended.err


def test_one_process_speaks_and_writes_and_a_gate_is_refused(checkpoint: Path) -> None:
    ended = eig(2, checkpoint)
    assert ended.codes == (0, 0)
    assert ended.out.count("eigenvalue") == 1
    assert ended.err.count("wrote net.landscape.h5") == 1
    assert ended.errors[1] == ""
    refused = rank_processes.together([str(HERE / "command.py"), "check", "net.pt"], 2, checkpoint)
    assert refused.codes == (2, 2)
    assert "landscape check runs in one process, and torchrun started several" in refused.err


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_nobody_joins_does_not_wait_forever(rank: str, checkpoint: Path) -> None:
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(rank_processes.free_port()), "WORLD_SIZE": "2"}
    words = [str(HERE / "command.py"), *EIG, "--no-plot"]
    ended = rank_processes.wait([rank_processes.alone(words, checkpoint, RANK=rank, MEETING="2", **place)])
    assert ended.codes == (2,)
    assert ended.out == ""
    told = "of 2 processes that the environment names, not all came to measure together"
    assert (told in ended.err) == (rank == "0")  # the other one is silent


def test_devices_start_the_command_on_several_processes(checkpoint: Path) -> None:
    words = ["-m", "landscape", *EIG, "--no-plot", "--json"]
    outcomes = [
        rank_processes.wait([rank_processes.alone([*words, *more], checkpoint)])
        for more in (["--devices", "2"], ["--devices=2", "--max-products", "3", "--restart"])
    ]
    assert [ended.codes[0] for ended in outcomes] == [0, 3]  # the exit code of the measurement comes through
    assert json.loads(outcomes[0].out)["analysis"] == "eig"


def test_a_doctor_looks_at_the_ranks_together(checkpoint: Path) -> None:
    words = [str(HERE / "command.py"), "doctor", *EIG[1:-2], "--distributed"]
    healthy = rank_processes.together(words, 2, checkpoint)
    assert healthy.codes == (0, 0), healthy.err
    assert "sums: 4,194,304 numbers, the same bits on all ranks" in healthy.out
    assert "GB/s" in healthy.out
    other = rank_processes.together(words, 2, checkpoint, {"FAULT": "data"})
    assert other.codes == (2, 2)
    assert "FAIL  data: rank 1 has another data than rank 0" in other.out
    alone = rank_processes.wait([rank_processes.alone(["-m", "landscape", "doctor", "--distributed"], checkpoint)])
    assert alone.codes == (2,)
    assert "fix:  torchrun --nproc-per-node 2 -m landscape doctor --distributed" in alone.err
