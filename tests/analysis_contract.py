"""The laws of every analysis: inherit, define `analysis` and `objective`, and each law is tested."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape import session
from landscape.analyses import Analysis, Progress
from landscape.errors import Interrupted, UsageError
from landscape.fields import Array, Option, Scalar, described_fields, dimensions
from landscape.gates import baseline, measuring
from landscape.gates.baseline import Baseline
from landscape.gates.metric import metrics_of, read_metric
from landscape.gates.policy import parse_policy
from landscape.gates.verdict import judge
from landscape.objective import Objective
from landscape.storage import paths
from landscape.storage.read import read_results, to_record

Whole = tuple[list[Progress], Any]  # all steps of a measurement, and its result
Written = tuple[Path, session.MeasurementRecord]
Once = Callable[[str, Callable[[], Any]], Any]
ONCE = pytest.StashKey[dict[str, Any]]()


def drained(steps: Generator[Progress, None, Any]) -> Whole:
    """All steps of a measurement, and the result that it returns."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


def same(left: Any, right: Any) -> bool:
    """Whether two results are equal bit for bit; how long they took, and under which name, is none of their values."""
    names = [f.name for f in fields(left) if f.compare]
    pairs = [(getattr(left, name), getattr(right, name)) for name in names]
    return all((a is None and b is None) or equal(a, b) for a, b in pairs)


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal bit for bit; NaN equals NaN, and mappings are compared array by array."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
    return np.array_equal(left, right, equal_nan=np.asarray(left).dtype.kind not in "UO")


class AnalysisContract:
    """Subclasses define the fixtures `analysis` and `objective` (small enough for a second)."""

    @pytest.fixture(autouse=True)
    def _one_strategy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Timed trials always choose their first candidate: bits of two runs must not depend on the machine's load."""
        monkeypatch.setattr("landscape.compute.timing.CLEARLY_FASTER", 0.0)

    @pytest.fixture
    def once(self, request: pytest.FixtureRequest) -> Once:
        """Calls a function once for all tests of a class, which only read its value; values are kept by name."""
        values: dict[str, Any] = request.node.parent.stash.setdefault(ONCE, {})

        def value(name: str, make: Callable[[], Any]) -> Any:
            if name not in values:
                values[name] = make()
            return values[name]

        return value

    @pytest.fixture
    def uninterrupted(self, analysis: Analysis, objective: Objective, once: Once) -> Whole:
        """The steps and the result of one measurement."""
        measured: Whole = once("measured", lambda: drained(analysis.measure(objective)))
        return measured

    @pytest.fixture
    def written(
        self, analysis: Analysis, objective: Objective, once: Once, tmp_path_factory: pytest.TempPathFactory
    ) -> Written:
        """A measurement and the file that it was written to."""

        def execute() -> Written:
            output, notes = tmp_path_factory.mktemp("written") / "run.landscape.h5", tuple(objective.notes)
            measurement = session.execute(analysis, objective, output=output)
            assert measurement.problem is None
            assert tuple(objective.notes) == notes, "measuring changes the objective's notes"
            return output, measurement

        stored: Written = once("written", execute)
        return stored

    @pytest.mark.device
    def test_measuring_twice_gives_the_same_bits(
        self, analysis: Analysis, objective: Objective, uninterrupted: Whole
    ) -> None:
        assert same(drained(analysis.measure(objective))[1], uninterrupted[1])

    @pytest.mark.device
    def test_resuming_gives_bit_for_bit_the_uninterrupted_result(
        self, analysis: Analysis, objective: Objective, uninterrupted: Whole
    ) -> None:
        steps, whole = uninterrupted
        for stop in sorted({0, len(steps) // 2, len(steps) - 1}):
            running = analysis.measure(objective)
            for _ in range(stop + 1):
                progress = next(running)
            state = {name: array.copy() for name, array in progress.state().items()}
            running.close()
            rest, resumed = drained(analysis.measure(objective, resume=state))
            assert same(resumed, whole), stop
            assert resumed.remarks() == whole.remarks(), stop
            assert (resumed.notes, resumed.trouble()) == (whole.notes, whole.trouble()), stop
            assert len(rest) == len(steps) - stop - 1  # nothing is done twice

    def test_progress_never_exceeds_its_total(self, uninterrupted: Whole) -> None:
        assert all(0 <= step.done <= step.total and step.note for step in uninterrupted[0])

    def test_every_field_of_options_and_result_is_described(self, analysis: Analysis) -> None:
        assert all(field.about.help for field in described_fields(type(analysis), Option))
        kinds = [*described_fields(analysis.result, Array), *described_fields(analysis.result, Scalar)]
        assert all(field.about.help for field in kinds)

    def test_the_stored_result_reads_back_equal(self, analysis: Analysis, written: Written) -> None:
        output, measurement = written
        stored = read_results(output)[analysis.name]
        again = to_record(analysis.result, stored)
        assert again.to_dict() == measurement.result.to_dict()
        assert stored.attributes["status"] == "complete"

    def test_xarray_and_h5netcdf_open_the_group_without_a_warning(self, analysis: Analysis, written: Written) -> None:
        import xarray

        output, measurement = written
        result = measurement.result
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with xarray.open_dataset(output, group=analysis.name, engine="h5netcdf") as dataset:
                held = {f.name for f in described_fields(analysis.result, Array) if getattr(result, f.name) is not None}
                for field in described_fields(analysis.result, Array):
                    value = getattr(result, field.name)
                    if value is not None:
                        assert dataset[field.name].dims == dimensions(analysis.result, field, held)
                        assert equal(dataset[field.name].values, value)
                for number in described_fields(analysis.result, Scalar):
                    value = getattr(result, number.name)
                    assert (number.name in dataset) == (value is not None)
                    assert value is None or float(dataset[number.name]) == pytest.approx(float(value))

    def test_the_json_document_is_strict_json_with_the_contract_s_keys(
        self, analysis: Analysis, written: Written
    ) -> None:
        document = written[1].document()
        parsed = json.loads(json.dumps(document, allow_nan=False))
        assert {"schema", "analysis", "status", "checkpoint", "conditions", "result"} <= parsed.keys()
        assert parsed["analysis"] == analysis.name
        assert set(parsed["checkpoint"]) == {"path", "sha256"}

    def test_notes_of_the_result_are_stored(self, written: Written) -> None:
        output, measurement = written
        notes = measurement.result.notes
        assert isinstance(notes, tuple)
        assert all(isinstance(note, str) and note for note in notes)
        (stored,) = read_results(output).values()
        assert set(notes) <= set(json.loads(str(stored.attributes["notes"])))

    def test_every_number_can_be_gated_and_its_own_baseline_passes(self, written: Written, tmp_path: Path) -> None:
        output, path = written[0], tmp_path / "b.json"
        result = written[1].result
        known = [metric for metric in metrics_of(result) if not read_metric(result, metric).not_gateable]
        assert known
        rules = parse_policy(metrics=[str(metric) for metric in known])
        entry = measuring.read_entry(output, rules)
        baseline.write_baseline(path, Baseline("same-weights", [entry]))
        verdicts = judge(rules, baseline.read_baseline(path).entries, [entry])
        assert {verdict.metric for verdict in verdicts} == {str(metric) for metric in known}
        assert {verdict.status for verdict in verdicts} == {"pass"}

    @pytest.mark.device
    def test_an_interrupted_run_saves_and_the_next_one_finishes_it(
        self, analysis: Analysis, objective: Objective, uninterrupted: Whole, tmp_path: Path
    ) -> None:
        output = tmp_path / "run.landscape.h5"
        stop = session.StopSignals()
        said: list[str] = []

        def interrupt(progress: Progress) -> None:
            stop.requested = 15

        with pytest.raises(Interrupted, match="saved") as caught:
            session.execute(analysis, objective, output=output, report=interrupt, stop=stop)
        assert caught.value.exit_code == 143
        assert not output.exists()
        resumed = session.execute(analysis, objective, output=output, say=said.append)
        assert "resumed" in said[0]
        assert same(replace(resumed.result, checks=()), uninterrupted[1])
        assert {finding.verdict for finding in resumed.result.checks} <= {"holds", "noted", "not run"}
        written = {output, *(paths.beside(output, name) for name in analysis.sidecars(resumed.result, objective))}
        left = {path for path in tmp_path.iterdir() if path.is_file()}
        outputs = ("edited", paths.ALLOCATION)  # what `write_outputs` may write
        assert {path for path in left if not any(word in path.name for word in outputs)} == written

    def test_a_snapshot_of_another_run_is_refused_until_discarded(
        self, analysis: Analysis, objective: Objective, tmp_path: Path
    ) -> None:
        output = tmp_path / "run.landscape.h5"
        stop = session.StopSignals(requested=2)
        with pytest.raises(Interrupted):
            session.execute(analysis, objective, output=output, stop=stop)
        other = type(analysis)(**{**analysis.identity(), "seed": 99})
        with pytest.raises(UsageError, match=r"seed: 99 here, 0 there"):
            session.execute(other, objective, output=output)
        session.execute(other, objective, output=output, restart=True)
        assert output.exists()
