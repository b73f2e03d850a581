"""Snapshots, signals and kills: the work is kept, and a file is old or new, never torn."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from small_objectives import small_objective
from torch import Tensor

import landscape
from landscape import Eig, session
from landscape.analyses import Progress
from landscape.compute.strategy import Strategy
from landscape.errors import OutputError, UsageError
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


@pytest.mark.parametrize(
    ("restart", "again"), [(False, "from which the same command goes on"), (True, "without --rest")]
)
def test_a_result_that_cannot_be_written_leaves_its_work_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, restart: bool, again: str
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OutputError("no space left", why="untouched", fix="free some space")

    output, kept = tmp_path / "a.landscape.h5", tmp_path / "a.eig.partial"
    monkeypatch.setattr("landscape.session.unfinished.MIN_SECONDS_AT_STAKE", 0)
    monkeypatch.setattr("landscape.session.unfinished.SNAPSHOT_INTERVAL", 0)
    with monkeypatch.context() as disk:
        disk.setattr("landscape.session.driver.write_results", full)
        problem = session.execute(Eig(k=2), small_objective(), output=output, restart=restart).problem
    assert problem is not None
    assert problem.fix == "free some space"
    assert problem.why.startswith("untouched; ")
    assert str(kept) in problem.why
    assert again in problem.why
    said: list[str] = []
    assert session.execute(Eig(k=2), small_objective(), output=output, say=said.append).result.converged.all()
    assert said == [f"resumed from {kept}"]
    assert not kept.exists()


def test_the_work_of_another_run_is_not_offered_to_one_that_discards_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OutputError("no space left")

    output = tmp_path / "a.landscape.h5"
    session.execute(Eig(k=4, max_products=5), small_objective(), output=output)
    assert (tmp_path / "a.eig.partial").exists()
    monkeypatch.setattr("landscape.session.driver.write_results", full)
    record = session.execute(Eig(k=2), small_objective(), output=output, restart=True)
    assert record.problem is not None
    assert record.problem.why == ""
    assert record.snapshot is None


def test_a_file_of_someone_else_is_refused_before_the_work_begins(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    output.write_text("my notes")
    steps: list[Progress] = []
    with pytest.raises(OutputError, match="was not written by landscape"):
        session.execute(Eig(k=2), small_objective(), output=output, report=steps.append)
    assert not steps
    assert output.read_text() == "my notes"


MEASURED_TWICE = """
import sys
import torch
torch.set_num_threads(1)
import numpy as np
import landscape

objective = landscape.load(sys.argv[1], limit=150, hvp=sys.argv[2])
trace = landscape.run(landscape.Trace(max_products=32), objective)
density = landscape.run(landscape.Density(steps=12, probes=3), objective)
eig = landscape.run(landscape.Eig(k=2), objective)
for values in (trace.draws, trace.trace, density.density, density.ritz_nodes, density.effective_rank, eig.eigenvalues):
    print(np.asarray(values).tobytes().hex())
"""
DOCUMENTED_TOLERANCE = 1e-4  # of the most sensitive numbers, by another strategy (docs/speed.md)


def measured_in_a_process(strategy: str, run: int = 0) -> list[np.ndarray]:
    """What a fresh process measures, whose memory begins elsewhere than that of other runs."""
    command = [sys.executable, "-c", MEASURED_TWICE, str(SAMPLES / "digits-mlp.pt"), strategy]
    environment = {**os.environ, "PADDING": "x" * (run * 1001)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [np.frombuffer(bytes.fromhex(line)) for line in done.stdout.split()]


def ways_of(strategy: str) -> Collection[Strategy]:
    """How the products of a trace are made if the strategy is asked for; its bits may be those of another one."""
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=150, hvp=strategy)
    landscape.run(landscape.Trace(max_products=32), objective)
    return objective.strategies.chosen.values()


@pytest.mark.slow
def test_fresh_processes_measure_the_same_bits_by_one_strategy_and_nearly_the_same_by_another() -> None:
    first = measured_in_a_process("loop")
    for run in range(1, 4):
        assert all(np.array_equal(a, b) for a, b in zip(first, measured_in_a_process("loop", run), strict=True))
    assert {way.kind for way in ways_of("loop")} == {"loop"}
    assert "vmap" in {way.kind for way in ways_of("vmap")}
    other = measured_in_a_process("vmap")
    for a, b in zip(first, other, strict=True):
        assert np.abs(a - b).max() <= DOCUMENTED_TOLERANCE * np.abs(a).max()


def test_a_name_stands_for_an_analysis_with_its_defaults() -> None:
    named, made = (landscape.run(analysis, small_objective()) for analysis in ("eig", Eig()))
    assert named.to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("eigg", r"eigg \(did you mean eig\?\) is no analysis"),
        (Eig, r"Eig is a class of analyses\n.*landscape.Eig\(\)"),
        (5, "int 5 is no analysis"),
    ],
)
def test_what_is_no_analysis_is_told_what_to_pass(given: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        landscape.run(given, small_objective())  # type: ignore[arg-type]
