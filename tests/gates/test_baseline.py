"""The baseline's file: what is read is what was written, and what is damaged is said so."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from gating import METRIC, entry, run, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landscape.errors import OutputError, UsageError
from landscape.gates import baseline
from landscape.gates.baseline import Baseline
from landscape.gates.metric import Reading

numbers = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, width=32)
sizes = st.floats(0, allow_nan=False, allow_infinity=False, allow_subnormal=False, width=32)
draws = st.lists(numbers, max_size=4).map(tuple)
readings = st.builds(Reading, numbers, st.none() | sizes, draws, sizes, sizes, not_unique=st.text(max_size=5))


def near(left: float | None, right: float | None) -> bool:
    return (left is None and right is None) or right == pytest.approx(left, rel=1e-7)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reading=readings, name=st.text(min_size=1, max_size=8))
def test_what_is_read_is_what_was_written_to_eight_digits(tmp_path: Path, reading: Reading, name: str) -> None:
    path = tmp_path / "b.json"
    path.unlink(missing_ok=True)
    written = replace(entry(name=name), readings={METRIC: reading})
    baseline.write_baseline(path, Baseline("same-weights", [written]))
    (found,) = baseline.read_baseline(path).entries
    assert (found.name, found.sha256, found.runs) == (written.name, written.sha256, written.runs)
    again = found.readings[METRIC]
    assert near(reading.value, again.value)
    assert near(reading.error, again.error)
    assert near(reading.floor, again.floor)
    assert near(reading.asked, again.asked)
    assert len(again.draws) == len(reading.draws)
    assert all(near(a, b) for a, b in zip(reading.draws, again.draws, strict=True))
    assert again.not_unique == reading.not_unique


def test_the_file_is_sorted_with_one_metric_a_line_and_the_same_each_time(tmp_path: Path) -> None:
    several = replace(entry(), readings={name: Reading(math.pi) for name in ("eig.loss", METRIC, "eig.gradient_norm")})
    for name, entries in {"a": [several, entry(name="0.pt")], "b": [entry(name="0.pt"), several]}.items():
        baseline.write_baseline(tmp_path / name, Baseline("same-weights", entries))
    text = (tmp_path / "a").read_text()
    assert text == (tmp_path / "b").read_text()
    lines = [line.strip() for line in text.splitlines()]
    metrics = [line for line in lines if line.startswith('"eig.')]
    assert metrics[1:] == sorted(metrics[1:])
    assert '"eig.loss": {"value": 3.1415927}' in lines
    assert list(json.loads(text)["checkpoints"]) == ["0.pt", "a.pt"]


def test_draws_are_kept_where_they_pair_and_nowhere_else(tmp_path: Path) -> None:
    entries = [replace(one, readings={METRIC: Reading(3.0, 0.1, (1.0, 2.0))}) for one in seeds([3.0, 3.1])]
    for kind, expected in (("same-weights", 2), ("retrained", 0)):
        baseline.write_baseline(tmp_path / kind, Baseline(kind, entries))  # type: ignore[arg-type]
        assert len(baseline.read_baseline(tmp_path / kind).entries[0].readings[METRIC].draws) == expected


def test_a_loss_that_is_not_known_is_read_so(tmp_path: Path) -> None:
    baseline.write_baseline(tmp_path / "b", Baseline("same-weights", [entry(of=run(math.nan))]))
    assert math.isnan(baseline.read_baseline(tmp_path / "b").entries[0].runs["eig"].loss)


def test_an_update_replaces_the_entries_that_were_measured_and_all_that_were_retrained() -> None:
    held = Baseline("same-weights", [entry(1.0, "a.pt"), entry(2.0, "b.pt")])
    after = {one.name: one.readings[METRIC].value for one in held.replace_entries([entry(9.0, "b.pt")]).entries}
    assert after == {"a.pt": 1.0, "b.pt": 9.0}
    again = replace(held, kind="retrained").replace_entries([entry(9.0, "c.pt")])
    assert [one.name for one in again.entries] == ["c.pt"]


def test_a_merge_keeps_the_metrics_that_other_tests_wrote() -> None:
    other = replace(entry(), readings={"eig.loss": Reading(0.1)})
    merged = Baseline("same-weights", [other, entry(name="b.pt")]).merge_entries([entry(5.0)])
    assert {one.name: set(one.readings) for one in merged.entries} == {"a.pt": {"eig.loss", METRIC}, "b.pt": {METRIC}}


def test_a_merge_drops_what_the_same_analysis_measured_otherwise() -> None:
    other = replace(entry(of=run(limit=100)), readings={"eig.loss": Reading(0.1), METRIC: Reading(1.0)})
    (merged,) = Baseline("same-weights", [other]).merge_entries([entry(5.0, of=run(limit=200))]).entries
    assert {name: reading.value for name, reading in merged.readings.items()} == {METRIC: 5.0}


def test_a_merge_of_retrained_checkpoints_keeps_the_metrics_of_the_same_group_only() -> None:
    held = Baseline("retrained", [replace(one, readings={"eig.loss": Reading(0.1)}) for one in seeds([1.0, 2.0])])
    assert all(set(one.readings) == {"eig.loss", METRIC} for one in held.merge_entries(seeds([1.0, 2.0])).entries)
    assert len(held.merge_entries(seeds([1.0, 2.0, 3.0])[1:]).entries) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[:100], "is not a baseline"),
        (lambda text: "[" * 100_000, "is not a baseline"),
        (lambda text: "[]", "is not a baseline"),
        (lambda text: "{}", "KeyError 'schema'"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "newer landscape"),
        (lambda text: text.replace('"same-weights"', '"other"'), "kind 'other'"),
        (lambda text: text.replace('"value": 3.0', '"value": NaN'), "it holds NaN"),
        (lambda text: text.replace('"value": 3.0', '"value": 1e999'), "inf is no number"),
        (lambda text: text.replace('"value": 3.0', '"value": "3"'), "'3' is no number"),
        (lambda text: text.replace('"value": 3.0', '"value": true'), "True is no number"),
        (lambda text: text.replace('"value": 3.0', '"values": 3.0'), "a metric has 'values'"),
        (lambda text: text.replace('"eig": {', '"trace": {'), "the run of trace is of 'eig'"),
        (lambda text: text.replace('"value": 3.0', '"value": 3.0, "value": 4.0'), "'value' stands twice"),
        (lambda text: text.replace('"error": 0.0001', '"error": -1'), "-1 is below 0"),
        (lambda text: text.replace('"error": 0.0001', '"errors": 1'), "a metric has 'errors'"),
        (lambda text: text.replace('"schema": 1,\n  "ch', '"schema": 0,\n  "ch'), "schema 0"),
        (lambda text: text.replace('"value": 3.0', f'"value": 1{"0" * 400}'), "is not a baseline"),
        (lambda text: text.replace('"fingerprint": {', '"fingerprint": [], "other": {'), "fingerprint of eig"),
        (lambda text: text.replace('"device": "cpu"', '"device": null'), "device of eig"),
    ],
    ids=[
        *"cut deep list empty newer kind nan infinite text flag absent run".split(),
        *"twice negative key schema huge parts device".split(),
    ],
)
def test_what_is_damaged_is_said_so_and_never_compared(tmp_path: Path, damage: object, words: str) -> None:
    path = tmp_path / "b.json"
    baseline.write_baseline(path, Baseline("same-weights", [entry()]))
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(OutputError, match=words) as caught:
        baseline.read_baseline(path)
    assert caught.value.fix
    assert caught.value.exit_code == 2


def test_no_baseline_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no baseline") as caught:
        baseline.read_baseline(tmp_path / "none.json")
    assert "--update" in caught.value.fix


def test_what_is_no_baseline_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "package.json"
    path.write_text("{}")
    with pytest.raises(OutputError, match="is not a baseline"):
        baseline.write_baseline(path, Baseline("same-weights", [entry()]))
    assert path.read_text() == "{}"


def test_a_baseline_of_another_kind_is_refused(tmp_path: Path) -> None:
    baseline.write_baseline(tmp_path / "b", Baseline("same-weights", [entry()]))
    with pytest.raises(UsageError, match="written for --kind same-weights, and this is retrained"):
        baseline.read_baseline(tmp_path / "b", "retrained")
