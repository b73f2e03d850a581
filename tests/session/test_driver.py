"""Snapshots, signals and kills: the work is kept, and a file is old or new, never torn."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, tanh_net
from torch import Tensor, nn

import landscape
from landscape import Eig, Objective, session
from landscape.analyses import Progress
from landscape.errors import Interrupted, OutputError, UsageError
from landscape.storage.read import read_results
from landscape.storage.write import write_results

Data = tuple[Tensor, Tensor]
SLOW = """
import os, signal, sys
import torch
torch.set_num_threads(1)
import landscape
from pathlib import Path
from landscape import session
from landscape.session import unfinished

unfinished.SNAPSHOT_INTERVAL = unfinished.MIN_SECONDS_AT_STAKE = 0  # a snapshot after every step
PAUSE = int(sys.argv[3])  # the step after which the run waits, for a signal or for the end of stdin
wait = sys.stdin.readline
steps = 0

def wait_at_pause(progress):
    global steps
    steps += 1
    print(progress.note, flush=True)
    if steps == PAUSE:
        wait()

def run():
    objective = landscape.load(sys.argv[1])
    with session.StopSignals() as stop:
        try:
            session.execute(landscape.Eig(k=8), objective, output=Path(sys.argv[2]), report=wait_at_pause, stop=stop)
        except landscape.LandscapeError as error:
            print(error, flush=True)
            sys.exit(error.exit_code)
"""
KILLED = """
import torch.fx.experimental.symbolic_shapes  # half a second, which the first torch.autograd.grad would take

while line := sys.stdin.readline():  # a run in a process of its own, which has torch already
    PAUSE = int(line)
    child = os.fork()
    if not child:
        wait = signal.pause  # stdin is the parent's
        try:
            run()
        finally:
            print("over", flush=True)
        break
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("\\nkilled", flush=True)
"""


def start(output: Path, script: str = "run()", pause: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW + script, str(SAMPLES / "digits-mlp.pt"), str(output), str(pause)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def expected() -> np.ndarray:
    values: np.ndarray = landscape.run(Eig(k=8), landscape.load(SAMPLES / "digits-mlp.pt")).eigenvalues
    return values


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_a_signal_saves_the_work_and_the_next_run_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    output = tmp_path / "run.landscape.h5"
    process = start(output, pause=6)
    assert process.stdout is not None
    for _ in range(6):
        process.stdout.readline()
    process.send_signal(number)
    rest, _ = process.communicate()  # closes stdin, so that the run goes on
    assert process.returncode == code
    assert "the work is saved in" in rest
    assert not output.exists()
    said: list[str] = []
    notes: list[str] = []
    measurement = session.execute(
        Eig(k=8),
        landscape.load(SAMPLES / "digits-mlp.pt"),
        output=output,
        say=said.append,
        report=lambda step: notes.append(step.note),
    )
    assert "resumed from" in said[0]
    assert int(notes[0].split()[0]) > 5
    assert np.array_equal(measurement.result.eigenvalues, expected())
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.slow
def test_twenty_kills_leave_the_old_file_or_the_new_one_and_the_result_is_the_same(tmp_path: Path) -> None:
    output = tmp_path / "run.landscape.h5"
    write_results(output, "other", landscape.run(Eig(k=1), small_objective()), {"status": "complete"})
    choice = random.Random(0)
    resumed = 0
    with start(output, KILLED) as runs:
        assert runs.stdin is not None
        assert runs.stdout is not None
        for kill in range(20):
            pause = 5 if kill % 2 else 0  # every other run is killed while it waits, the others wherever they are
            runs.stdin.write(f"{pause}\n")
            for _ in range(pause or choice.randrange(1, 40)):
                if runs.stdout.readline() == "over\n":
                    break
            runs.stdin.write("kill\n")
            while runs.stdout.readline() != "killed\n":
                assert runs.poll() is None
            groups = read_results(output)  # raises if the file is torn
            assert "other" in groups
            resumed += (tmp_path / "run.eig.partial").exists()
    assert resumed >= 10, "all that were killed while they waited have left their work"
    measurement = session.execute(Eig(k=8), landscape.load(SAMPLES / "digits-mlp.pt"), output=output)
    assert np.array_equal(measurement.result.eigenvalues, expected())
    assert set(read_results(output)) == {"other", "eig"}


def small_objective() -> Objective:
    x, y = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(8, dtype=torch.long)
    return Objective(tanh_net(), [(x, y)], "cross_entropy")


def test_outside_a_measurement_and_the_second_time_a_signal_stops_at_once() -> None:
    with session.StopSignals() as stop:
        with pytest.raises(Interrupted) as first:
            os.kill(os.getpid(), signal.SIGTERM)
        assert first.value.exit_code == 143
        stop.deferring = True
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == signal.SIGINT
        with pytest.raises(Interrupted) as second:
            os.kill(os.getpid(), signal.SIGINT)
        assert second.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_snapshots_cost_at_most_a_twentieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    saves: list[float] = []

    def save(path: Path, arrays: object, about: object) -> None:
        clock[0] += 1.0  # a save takes a second
        saves.append(clock[0])

    def tick(progress: Progress) -> None:
        clock[0] += 2.0  # and a product two

    monkeypatch.setattr("landscape.session.unfinished.save_arrays", save)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    session.execute(Eig(k=5), small_objective(), output=tmp_path / "a.landscape.h5", report=tick)
    assert len(saves) >= 2
    assert all(later - earlier >= 20 for earlier, later in pairwise(saves))


def test_a_snapshot_of_another_model_with_the_same_weights_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    with pytest.raises(Interrupted):
        session.execute(Eig(k=2), small_objective(), output=output, stop=session.StopSignals(requested=2))
    other = small_objective()
    other.model[1] = nn.ReLU()  # type: ignore[index]
    with pytest.raises(UsageError, match="loss: .*another model of the same weights"):
        session.execute(Eig(k=2), other, output=output)


def test_a_resumed_run_that_is_at_its_limit_already_says_so_again(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    for _ in range(2):
        measurement = session.execute(Eig(k=4, max_products=5), small_objective(), output=output)
        assert "converged in 5 products" in str(measurement.result.trouble())
        assert (tmp_path / "a.eig.partial").exists()


def test_an_inconclusive_result_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.execute(Eig(k=2), small_objective(), output=output)
    before = output.read_bytes()
    said: list[str] = []
    measurement = session.execute(Eig(k=4, max_products=5), small_objective(), output=output, say=said.append)
    assert measurement.result.trouble()
    assert measurement.written == ()
    assert "kept the complete result" in said[0]
    assert output.read_bytes() == before


def test_a_result_that_cannot_be_written_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr("landscape.session.driver.write_results", full)
    measurement = session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5")
    assert measurement.problem is not None
    assert measurement.result.converged.all()
    with pytest.raises(OutputError, match="no space left"):
        session.run(Eig(k=2), small_objective(), output=tmp_path / "b.landscape.h5")


def test_the_time_of_an_interrupted_run_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def tick(progress: Progress) -> None:
        clock[0] += 100.0

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    output, stop = tmp_path / "a.landscape.h5", session.StopSignals()

    def interrupt(progress: Progress) -> None:
        tick(progress)
        stop.requested = 2

    with pytest.raises(Interrupted):
        session.execute(Eig(k=2), small_objective(), output=output, report=interrupt, stop=stop)
    clock[0] += 5000.0  # nobody is measuring meanwhile
    measurement = session.execute(Eig(k=2), small_objective(), output=output, report=tick)
    assert measurement.attributes["wall_time_s"] == 100.0 * measurement.result.products


def test_a_file_of_someone_else_is_refused_before_the_work_begins(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    output.write_text("my notes")
    steps: list[Progress] = []
    with pytest.raises(OutputError, match="was not written by landscape"):
        session.execute(Eig(k=2), small_objective(), output=output, report=steps.append)
    assert not steps
    assert output.read_text() == "my notes"


def test_the_group_says_what_it_was_made_from(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    session.execute(Eig(k=2), landscape.load(SAMPLES / "digits-mlp.pt"), output=output)
    attributes = read_results(output)["eig"].attributes
    assert attributes["status"] == "complete"
    assert len(attributes["checkpoint_sha256"]) == len(attributes["data_sha256"]) == 64
    assert attributes["mode"] == "eval"
    assert json.loads(attributes["resolved_from"])["model"] == "mlp, from the checkpoint's own description"
    assert json.loads(attributes["options"])["k"] == 2
    assert attributes["products"] > 2
    assert attributes["wall_time_s"] > 0
    assert attributes["loss_value"] == pytest.approx(0.0667, abs=1e-3)
