"""Weights in parts on several processes: the same bits, work that any number of them resumes, and failures in words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import rank_processes

HERE = Path(__file__).parent
NAMES = ("transformer", "a layer that runs twice", "frozen")


def measure(size: int, folder: Path, dtype: str, *names: str) -> dict[str, Any]:
    ended = rank_processes.together([str(HERE / "sharded.py"), dtype, *names], size, folder)
    assert ended.codes == (0,) * size, ended.errors
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_one_two_and_four_ranks_have_the_same_bits_and_hold_their_parts(tmp_path: Path) -> None:
    alone = measure(1, tmp_path, "float32", *NAMES)
    assert all(alone[f"{name}, held"] for name in NAMES)
    assert measure(2, tmp_path, "float32", *NAMES) == alone
    first = {name: value for name, value in alone.items() if name.startswith(NAMES[0])}
    assert measure(4, tmp_path, "float32", NAMES[0]) == first
    for loss, again in (alone[f"{name}, as given"] for name in NAMES):
        assert float.fromhex(loss) == pytest.approx(float.fromhex(again), rel=1e-6)


def test_three_ranks_agree_to_rounding(tmp_path: Path) -> None:
    one, three = (measure(size, tmp_path, "float64", NAMES[0])[NAMES[0]] for size in (1, 3))
    values = [[float.fromhex(value) for value in found[2:5]] for found in (one, three)]
    assert values[1] == pytest.approx(values[0], rel=1e-11)


MEASURED = ("net.pt", "--model", "faulty.py:build", "--data", "faulty.py:data", "--loss", "cross_entropy")


def command(name: str, size: int, folder: Path, *more: str, **asked: str) -> rank_processes.Ended:
    words = [str(HERE / "command.py"), name, *MEASURED, "--no-plot", "--shard", "on", *more]
    return rank_processes.together(words, size, folder, asked)


def eig(size: int, folder: Path, *more: str, **asked: str) -> rank_processes.Ended:
    return command("eig", size, folder, "-k", "3", *more, **asked)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"FAULT": "raise"}, "error: rank 1 has ended: .*ValueError: a bad batch"),
        ({"FAULT": "kill"}, "error: rank 1 has ended without a word"),
        ({"FAULT": "memory"}, "error: rank 1 has ended: .*memory"),
        ({"FAULT": "load"}, r"error: rank 1: data factory faulty.py:data\(\) failed: OSError: no such shard"),
        ({"FAULT": "data"}, "rank 1 measures something else than rank 0"),
    ],
    ids=["bad batch", "killed", "memory", "load", "other data"],
)
def test_a_rank_that_fails_is_named_with_its_cause(asked: dict[str, str], what: str, checkpoint: Path) -> None:
    ended = eig(2, checkpoint, **asked)
    assert re.search(what, ended.err), ended.err
    assert ended.err.count("error: ") == 1
    assert "Traceback" not in ended.err
    assert ended.codes[0] == 2
    assert ended.codes[1] != 0


@pytest.mark.parametrize("kind", ["Detached", "Routed"])
def test_ranks_whose_models_go_other_ways_end_with_the_reason(kind: str, tmp_path: Path) -> None:
    ended = rank_processes.together([str(HERE / "other_ways.py"), kind], 2, tmp_path)
    assert all(ended.codes)
    assert all("the ranks went other ways" in one for one in ended.errors)


@pytest.mark.parametrize(("fault", "code", "size"), [("term", 143, 1), ("kill", 2, 4)])
def test_work_of_two_ranks_is_resumed_by_others(fault: str, code: int, size: int, checkpoint: Path) -> None:
    def values(ended: rank_processes.Ended) -> Any:
        assert ended.codes[0] == 0, ended.err
        return json.loads(ended.out)["result"]["eigenvalues"]

    whole = values(eig(1, checkpoint, "--json", "-o", "whole.h5"))
    output = "cut.h5"
    assert eig(2, checkpoint, "-o", output, FAULT=fault, AFTER="100").codes[0] == code
    assert (checkpoint / "cut.eig.partial").exists()
    assert len(list(checkpoint.glob("cut.eig.parts-*.partial"))) <= 2
    resumed = eig(size, checkpoint, "--json", "-o", output)
    assert "resumed from cut.eig.partial" in resumed.err
    assert values(resumed) == whole
    assert not list(checkpoint.glob("cut.eig.*partial"))


def test_a_density_of_two_ranks_is_resumed_by_one(checkpoint: Path) -> None:
    options = "--probes", "3", "--steps", "9"
    whole = command("density", 1, checkpoint, "--json", "-o", "whole.h5", *options)
    assert command("density", 2, checkpoint, "-o", "cut.h5", *options, FAULT="term", AFTER="100").codes[0] == 143
    resumed = command("density", 1, checkpoint, "--json", "-o", "cut.h5", *options)
    assert "resumed from cut.density.partial" in resumed.err
    assert json.loads(resumed.out)["result"] == json.loads(whole.out)["result"]
