"""Snapshots: how often they are saved, and by which measurement they are resumed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_contract import same
from safetensors import safe_open
from safetensors.numpy import save_file
from small_objectives import small_objective
from torch import nn

from landscape import session
from landscape.analyses import Analysis, Density, Eig, Flatness, Progress, Sharpness, Surface, Trace
from landscape.errors import Interrupted, LandscapeError, NumericalError, OutOfMemory, OutputError, UsageError
from landscape.session.stop import StopSignals
from landscape.storage.array_files import content_digest, load_arrays, save_arrays
from landscape.storage.provenance import Fingerprint


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


def test_a_snapshot_of_another_version_is_no_snapshot(tmp_path: Path) -> None:
    output = tmp_path / "a.landscape.h5"
    save_arrays(tmp_path / "a.eig.partial", {"basis": np.zeros(2)}, {"fingerprint": "{}"})
    with pytest.raises(OutputError, match=r"no snapshot of this version.*\n.*--restart"):
        session.execute(Eig(k=2), small_objective(), output=output)
    assert session.execute(Eig(k=2), small_objective(), output=output, restart=True).result.converged.all()


def test_a_snapshot_says_what_it_belongs_to(tmp_path: Path) -> None:
    objective = small_objective()
    with pytest.raises(Interrupted, match="the work is saved in .*a.eig.partial"):
        session.execute(Eig(k=2), objective, output=tmp_path / "a.landscape.h5", stop=StopSignals(requested=2))
    _, about = load_arrays(tmp_path / "a.eig.partial")
    assert float(about["loss"]) == objective.reference.loss
    assert Fingerprint.from_json(about["fingerprint"]).parts["k"] == 2
    with pytest.raises(UsageError, match=r"unfinished work of another run\n  why:  k: 3 here, 2 there"):
        session.execute(Eig(k=3), objective, output=tmp_path / "a.landscape.h5")


RESUMABLE: tuple[tuple[Analysis, int], ...] = (
    (Eig(k=3), 4),
    (Eig(k=2, per_layer=True), 12),
    (Density(steps=8, probes=2), 5),
    (Trace(rtol=1e-6, max_products=200), 2),
    (Sharpness(rho=0.05), 3),
    (Flatness(), 3),
    (Surface(grid="7x7", trial=False), 2),
)


def interrupted_after(analysis: Analysis, steps: int, output: Path) -> Path:
    """The snapshot of a measurement that is stopped after so many steps."""
    stop, count = StopSignals(), 0

    def tick(progress: Progress) -> None:
        nonlocal count
        count += 1
        stop.requested = 15 * (count == steps)

    with pytest.raises(Interrupted, match="saved"):
        session.execute(analysis, small_objective(), output=output, report=tick, stop=stop)
    return output.with_name(output.name.replace("landscape.h5", f"{analysis.name}.partial"))


def damaged_arrays(
    arrays: dict[str, np.ndarray], about: dict[str, str], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and texts of a snapshot with one of them changed."""
    draw = np.random.default_rng(seed)
    name = sorted(arrays)[draw.integers(len(arrays))]
    values = arrays[name]
    text = sorted(about)[draw.integers(len(about))]
    changes: list[dict[str, np.ndarray]] = [
        {name: np.full_like(values, np.nan if values.dtype.kind == "f" else 1)},
        {name: (values * 1.1 + 1).astype(values.dtype)},
        {name: np.full_like(values, -1) if values.dtype.kind != "u" else values[:0]},
        {name: np.zeros((0,), values.dtype)},
        {name: values[None].copy()},
        {name: values.astype(bool)},
        {name: values.reshape(-1)[:-1].copy()},
    ]
    kind = draw.integers(len(changes) + 2)
    if kind < len(changes):
        return arrays | changes[kind], about
    if kind == len(changes):
        return {other: array for other, array in arrays.items() if other != name}, about
    return arrays, about | {text: ("", "{}", "nan", "-1", "[]", "null", "[" * 5000)[draw.integers(7)]}


@pytest.mark.parametrize("digest", ["old", "renewed"])
@pytest.mark.parametrize(("analysis", "steps"), RESUMABLE, ids=lambda value: getattr(value, "name", value))
def test_a_tampered_snapshot_is_refused_in_words(tmp_path: Path, analysis: Analysis, steps: int, digest: str) -> None:
    snapshot = interrupted_after(analysis, steps, tmp_path / "a.landscape.h5")
    arrays, about = load_arrays(snapshot)
    with safe_open(snapshot, framework="np") as file:
        old = file.metadata()
    altered = refused = 0
    for seed in range(12):
        changed, texts = damaged_arrays(arrays, about, seed)
        altered += content_digest(changed, texts) != content_digest(arrays, about)
        if digest == "old":
            save_file({name: np.array(array, order="C") for name, array in changed.items()}, snapshot, old | texts)
        else:
            save_arrays(snapshot, changed, texts)
        try:
            session.execute(analysis, small_objective(), output=tmp_path / "a.landscape.h5")
        except LandscapeError as error:
            refused += 1
            assert "--restart" in error.fix or isinstance(error, NumericalError)  # noqa: PT017
        (tmp_path / "a.landscape.h5").unlink(missing_ok=True)
    assert refused == altered if digest == "old" else refused > 0


@pytest.mark.parametrize(
    ("analysis", "steps", "free"),
    [
        (Density(steps=8, probes=4), 5, 12_000),
        (Trace(rtol=1e-6, max_products=60), 1, 9_600),
        (Trace(method="hutchinson", rtol=1e-6, max_products=60), 2, 5_700),
        (Eig(k=2, per_layer=True), 34, 5_700),
    ],
    ids=["density", "trace", "hutchinson", "eig"],
)
def test_what_fitted_into_memory_at_first_decides_and_not_what_fits_when_the_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analysis: Analysis, steps: int, free: int
) -> None:
    monkeypatch.setattr("landscape.compute.timing.CLEARLY_FASTER", 0.0)  # no timed trial decides here

    def measure(**options: Any) -> Any:
        return replace(session.execute(analysis, small_objective(), **options).result, checks=())

    with monkeypatch.context() as patch:
        patch.setattr("landscape.compute.memory.free_bytes", lambda device: free)
        tight = measure()
        interrupted_after(analysis, steps, tmp_path / "a.landscape.h5")
    assert not same(measure(), tight)
    assert same(measure(output=tmp_path / "a.landscape.h5"), tight)


def test_without_its_snapshot_a_refused_measurement_begins_anew(tmp_path: Path) -> None:
    snapshot = interrupted_after(Eig(k=2), 3, tmp_path / "a.landscape.h5")
    snapshot.write_bytes(snapshot.read_bytes()[:-3])
    with pytest.raises(OutputError, match=r"a\.eig\.partial.*\n.*\n.*--restart discards it"):
        session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5")
    record = session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5", restart=True)
    assert record.result.converged.all()


class TestASnapshotThatCannotBeWritten:
    """Costs neither the result nor the exit code of a signal."""

    @pytest.fixture(autouse=True)
    def _always_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("landscape.session.unfinished.MIN_SECONDS_AT_STAKE", -1.0)
        monkeypatch.setattr("landscape.session.unfinished.SNAPSHOT_INTERVAL", 0)

    @pytest.mark.parametrize(
        "error",
        [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"), MemoryError()],
        ids=["disk full", "quota", "memory"],
    )
    def test_is_said_once_and_the_result_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        real = os.fsync

        def fail(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".tmp") and snapshots[0]:
                raise error
            real(descriptor)

        snapshots, said = [True], list[str]()
        monkeypatch.setattr("os.fsync", fail)
        original = session.driver.write_results

        def write(*arguments: Any, **options: Any) -> None:
            snapshots[0] = False  # what is written now is small enough
            original(*arguments, **options)

        monkeypatch.setattr("landscape.session.driver.write_results", write)
        record = session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5", say=said.append)
        assert record.problem is None
        assert (tmp_path / "a.landscape.h5").exists()
        assert [line for line in said if line.startswith("no snapshot: ")] == said[:1]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.landscape.h5"]

    def test_an_inconclusive_result_names_no_snapshot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        output, analysis = tmp_path / "a.landscape.h5", Eig(k=2, max_products=2)
        assert session.execute(analysis, small_objective(), output=output).snapshot == tmp_path / "a.eig.partial"

        def fail(*arguments: object) -> None:
            raise OutputError("a.eig.partial cannot be written", fix="free some space")

        monkeypatch.setattr("landscape.session.unfinished.save_arrays", fail)
        (tmp_path / "a.eig.partial").unlink()
        assert session.execute(analysis, small_objective(), output=output).snapshot is None

    def test_a_signal_says_that_the_work_is_not_saved(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object) -> None:
            raise OutputError("a.eig.partial cannot be written: No space left on device", fix="free some space")

        monkeypatch.setattr("landscape.session.unfinished.save_arrays", fail)
        with pytest.raises(Interrupted, match=r"stopped; the work is not saved: .*No space") as caught:
            session.execute(
                Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5", stop=StopSignals(requested=2)
            )
        assert caught.value.exit_code == 130


def test_memory_that_runs_out_keeps_the_snapshot_and_is_no_bug(tmp_path: Path) -> None:
    def run_out(progress: Progress) -> None:
        raise MemoryError

    snapshot = interrupted_after(Eig(k=2), 3, tmp_path / "a.landscape.h5")
    with pytest.raises(OutOfMemory, match=r"while measuring eig; the work until .* is kept in .*a\.eig\.partial"):
        session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5", report=run_out)
    assert snapshot.exists()
    assert session.execute(Eig(k=2), small_objective(), output=tmp_path / "a.landscape.h5").result.converged.all()
