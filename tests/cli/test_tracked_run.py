"""`landscape track`: a history, a table and a picture; runs that grow, fail, or are several."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from landscape.history import read_history
from landscape.tracking import tracker
from landscape_cli import tracked_run
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("folder_with_samples")
FEW = ["--limit", "60"]
KEPT = ("step-0000.pt", "step-0084.pt", "step-0840.pt")


@pytest.fixture(autouse=True)
def few_checkpoints(folder_with_samples: None) -> None:
    for path in Path("run").iterdir():
        if path.name not in KEPT:
            path.unlink()


def test_a_run_has_a_table_a_file_and_a_picture(capsys: Captured) -> None:
    assert status(["track", "run", "--eig", "2", "--lr", "0.5", *FEW]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines() if ".pt" in line] == [
        [str(int(name[5:9])), name] for name in KEPT
    ]
    assert "wrote run/track.landscape.h5, run/track.png" in err
    assert read_history(Path("run/track.landscape.h5"))["edge"].tolist() == [4.0] * 3
    Path("run/track.png").unlink()
    assert status(["show", "run/track.landscape.h5"]) == 0
    assert capsys.readouterr().out == out
    assert status(["plot", "run/track.landscape.h5"]) == 0
    assert Path("run/track.png").exists()
    assert status(["export", "run/track.landscape.h5", "--csv"]) == 0
    assert len(Path("run/track.csv").read_text().splitlines()) == 4
    assert status(["export", "run/track.landscape.h5", "--vts"]) == 2


def test_critical_sharpness_stands_beside_the_learning_rate(capsys: Captured) -> None:
    assert status(["track", "run", "--critical", "--lr", "0.5", *FEW]) == 0
    out, _ = capsys.readouterr()
    assert "critical.critical_sharpness" in out
    history = read_history(Path("run/track.landscape.h5"))
    assert history["critical.critical_sharpness"].tolist() == (2 / history["critical.critical_step"]).tolist()
    assert history["learning_rate"].tolist() == [0.5] * 3
    assert history["critical.edge_ratio"].tolist() == (0.5 / history["critical.critical_step"]).tolist()


def test_json_has_lists_over_the_steps(capsys: Captured) -> None:
    assert status(["track", "run", "--every", "2", "--json", "--no-plot", "--verbose", *FEW]) == 0
    out, err = capsys.readouterr()
    assert "step-0840.pt: purity" in err
    document = json.loads(out)
    assert document["analysis"] == "track"
    assert document["result"]["step"] == [0, 840]
    assert document["result"]["checkpoint"] == ["step-0000.pt", "step-0840.pt"]
    assert len(document["result"]["eig.eigenvalues"][0]) == 1
    assert not Path("run/track.png").exists()


def test_a_second_call_measures_nothing_again(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(["track", "run", *FEW]) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(tracker, "execute", None)
    assert status(["track", "run", *FEW]) == 0
    out, err = capsys.readouterr()
    assert out == first
    assert "holds 3 checkpoints, which are not measured again" in err


def test_a_checkpoint_that_is_broken_is_said_and_kept_as_missing(capsys: Captured) -> None:
    Path("run/step-0084.pt").write_bytes(Path("run/step-0084.pt").read_bytes()[:-500])
    assert status(["track", "run", *FEW]) == 3
    out, err = capsys.readouterr()
    assert out.count(".pt") == 3
    assert "step-0084.pt: " in err


def test_names_with_markup_are_printed_as_they_are(capsys: Captured) -> None:
    shutil.move("run/step-0084.pt", "run/[red]<b>84.pt")
    assert status(["track", "run", *FEW]) == 0
    assert "[red]<b>84.pt" in capsys.readouterr().out


def test_several_runs_and_their_comparison(capsys: Captured) -> None:
    shutil.copytree("run", "sam")
    shutil.copy("run/step-0084.pt", "sam/step-0840.pt")
    assert status(["track", "run", "sam", *FEW, "-o", "out/"]) == 0
    assert {path.name for path in Path("out").iterdir()} >= {"run.landscape.h5", "sam.landscape.h5", "sam.png"}
    assert status(["track", "run", "sam", *FEW, "--no-plot"]) == 0
    capsys.readouterr()
    assert status(["compare", "run", "sam", "-o", "both.png", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["metric"]: row["cells"] for row in document["rows"]}
    own = read_history(Path("run/track.landscape.h5"))
    assert rows["loss, last"][1]["value"] == pytest.approx(own["loss"][1])
    assert rows["loss, largest"][0]["value"] == pytest.approx(own["loss"].max())
    assert rows["eig.eigenvalues[0], last"][0]["error"] is not None
    assert Path("both.png").stat().st_size > 10_000
    assert status(["plot", "run/track.landscape.h5", "sam/track.landscape.h5", "-o", "two.png"]) == 0
    assert status(["track", "run", "sam", *FEW, "-o", "one.h5"]) == 2


def test_runs_that_were_measured_otherwise_are_compared_with_the_reason(capsys: Captured) -> None:
    assert status(["track", "run", *FEW, "--no-plot"]) == 0
    assert status(["track", "run", "--limit", "50", "--no-plot", "-o", "other.landscape.h5"]) == 0
    capsys.readouterr()
    assert status(["compare", "run", "other.landscape.h5"]) == 0
    out, err = capsys.readouterr()
    assert "measured otherwise" in err
    assert "(1)" in out


def test_a_history_is_no_result_of_one_checkpoint(capsys: Captured) -> None:
    assert status(["track", "run", *FEW, "--no-plot"]) == 0
    assert status(["eig", "a.pt", "-k", "1", *FEW, "--no-plot"]) == 0
    assert status(["compare", "run", "a.landscape.h5"]) == 2
    assert "compared with each other alone" in capsys.readouterr().err
    assert status(["check", "--list", "run/track.landscape.h5"]) == 2


def test_a_plan_measures_nothing(capsys: Captured) -> None:
    assert status(["track", "run", "--trace", "--dry-run", *FEW]) == 0
    assert "3, one after the other" in capsys.readouterr().out
    assert not Path("run/track.landscape.h5").exists()


def test_checkpoints_that_appear_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that still grows is left until it rests."""
    monkeypatch.setattr(tracked_run, "INTERVAL", 0.4)
    whole = Path("run/step-0840.pt").read_bytes()
    Path("run/step-0840.pt").unlink()

    def write() -> None:
        for end in (len(whole) // 2, len(whole)):
            time.sleep(0.3)
            Path("run/step-0840.pt").write_bytes(whole[:end])

    writer = threading.Thread(target=write)
    writer.start()
    assert status(["track", "run", "--follow", "--patience", "3", *FEW]) == 0
    writer.join()
    assert read_history(Path("run/track.landscape.h5")).steps.tolist() == [0, 84, 840]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_signal_ends_the_waiting_and_keeps_the_history() -> None:
    command = [sys.executable, "-m", "landscape", "track", "run", "--follow", "--no-plot", *FEW]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(Path("run/track.landscape.h5").exists)
        wait_for(lambda: len(read_history(Path("run/track.landscape.h5")).moments) == 3)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "what is measured is in run/track.landscape.h5" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["track"], "no checkpoint is named"),
        (["track", "none/"], "none"),
        (["track", "run", "--lr", "no.csv"], "cannot be read"),
        (["track", "a.pt", "--follow"], "one folder"),
        (["track", "run", "--measure", "nothing"], "there is no analysis"),
        (["track", "run", "--eig", "0"], "--eig is 0"),
    ],
)
def test_what_cannot_be_tracked_is_refused(words: list[str], message: str, capsys: Captured) -> None:
    assert status(words) in (2, 3)
    assert message in capsys.readouterr().err


def test_a_run_whose_architecture_changes_is_measured_as_two(capsys: Captured) -> None:
    content = torch.load("run/step-0840.pt")
    for name, tensor in content["state_dict"].items():
        content["state_dict"][name] = tensor[:-1] if name.endswith("4.weight") else tensor
    torch.save(content, "run/step-0840.pt")
    assert status(["track", "run", *FEW]) == 3
    assert "step-0840.pt: " in capsys.readouterr().err


def test_runs_that_would_share_a_file_are_refused(capsys: Captured) -> None:
    for name in ("x/y-z", "x-y/z", "v/y-z", "v-y/z"):
        shutil.copytree("run", name)
    assert status(["track", "x/y-z", "x-y/z", "v/y-z", "v-y/z", "-o", "all/", *FEW]) == 2
    err = capsys.readouterr().err
    assert "several runs would be written to all/v-y-z.landscape.h5, all/x-y-z.landscape.h5" in err
    assert "one by one with -o FILE" in err
