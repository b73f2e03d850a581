"""The same weights in other guises pass, and the same guise of sharper weights does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from torch import Tensor, nn

import landscape
from landscape.analyses import Eig, Sharpness, Trace
from landscape.errors import NumericalError, OutputError
from landscape.gates import measuring
from landscape.gates.entry import Entry
from landscape.gates.metric import Metric
from landscape.gates.policy import DEFAULT_METRICS, DEFAULT_OPTIONS, parse_policy
from landscape.gates.verdict import Verdict, exit_code, judge
from landscape.objective import Objective
from landscape.storage.read import read_results
from landscape.zoo import digits
from landscape_cli.settings_values import record_from_settings

CHECKPOINT = SAMPLES / "digits-mlp.pt"
POLICY = parse_policy()
ANALYSES = [record_from_settings(kind, DEFAULT_OPTIONS[kind.name]) for kind in (Eig, Trace, Sharpness)]


def measured(load: Callable[[], Objective], seed: int = 0) -> Entry:
    work = measuring.MeasurementSetup([measuring.with_seed_offset(analysis, seed) for analysis in ANALYSES])
    return measuring.measure_entry("digits-mlp.pt", load, POLICY, work)


def moved(change: Callable[[Tensor], Tensor]) -> Objective:
    """The sample with other weights."""
    objective = landscape.load(CHECKPOINT)
    vector = change(objective.theta)
    parts = objective.space.unflatten(vector)
    model = objective.model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parts[name])
    return Objective(model, digits(), "cross_entropy")


def load_with_one_strategy() -> Objective:
    return landscape.load(CHECKPOINT, hvp="loop")


class Renamed(nn.Module):
    """The sample's net, written anew: other names, another order, another layout of the code."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        linear = [module for module in original.modules() if isinstance(module, nn.Linear)]
        self.head, self.body, self.stem = linear[2], linear[1], linear[0]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.body(torch.tanh(self.stem(x.flatten(1))))))
        return out


@pytest.fixture(scope="module")
def baseline() -> Entry:
    return measured(lambda: landscape.load(CHECKPOINT))


def verdicts(baseline: Entry, candidate: Entry) -> dict[str, Verdict]:
    return {verdict.metric: verdict for verdict in judge(POLICY, [baseline], [candidate])}


def in_threads(count: int) -> Objective:
    torch.set_num_threads(count)
    return landscape.load(CHECKPOINT)


GUISES: dict[str, Callable[[], Objective]] = {
    "bf16": lambda: moved(lambda theta: theta.bfloat16().float()),
    "fp16": lambda: moved(lambda theta: theta.half().float()),
    "refactored": lambda: Objective(Renamed(landscape.load(CHECKPOINT).model), digits(), "cross_entropy"),
    "micro-batch": lambda: landscape.load(CHECKPOINT, micro_batch=37),
    "batch-size": lambda: Objective(landscape.load(CHECKPOINT).model, digits(batch_size=64), "cross_entropy"),
    "one-thread": lambda: in_threads(1),
    "two-threads": lambda: in_threads(2),
}


@pytest.mark.parametrize("guise", GUISES.values(), ids=GUISES)
def test_the_same_net_in_another_guise_passes(baseline: Entry, guise: Callable[[], Objective]) -> None:
    try:
        found = verdicts(baseline, measured(guise))
    finally:
        torch.set_num_threads(1)
    assert list(found) == list(DEFAULT_METRICS["same-weights"])
    assert {verdict.status for verdict in found.values()} == {"pass"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_start_vector_and_other_probes_pass(baseline: Entry, seed: int) -> None:
    found = verdicts(baseline, measured(lambda: landscape.load(CHECKPOINT), seed))
    assert {verdict.status for verdict in found.values()} == {"pass"}
    assert any("noise" in note for note in found["trace.trace"].notes), "its draws are not those of the baseline"


def test_a_net_that_is_three_per_cent_sharper_fails(baseline: Entry) -> None:
    """Weights times 0.987 are 3 % sharper in lambda 1: found by bisection, so that the number is what it says."""
    low, high = 0.97, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        sharper = landscape.run(Eig(k=1), moved(lambda theta, scale=middle: scale * theta)).eigenvalues[0]
        low, high = (low, middle) if sharper < 1.03 * baseline.readings["eig.eigenvalues[0]"].value else (middle, high)
    found = verdicts(baseline, measured(lambda: moved(lambda theta: low * theta)))
    verdict = found["eig.eigenvalues[0]"]
    assert verdict.comparison is not None
    assert verdict.comparison.gap / verdict.comparison.baseline == pytest.approx(0.03, abs=2e-3)
    assert verdict.status == "regression"
    assert found["trace.trace"].status == "regression", "its own error is 1.8 %, and that of the shared draws far below"
    assert exit_code(found.values()) == 1


def test_draws_that_are_shared_see_what_one_estimate_cannot(baseline: Entry) -> None:
    found = verdicts(baseline, measured(lambda: moved(lambda theta: 0.99 * theta)))["trace.trace"]
    assert found.comparison is not None
    alone = baseline.readings["trace.trace"].error or 0.0
    assert found.comparison.error < alone / 10
    assert found.status == "regression"


def test_weights_of_nan_are_unknown_and_not_an_error() -> None:
    entry = measured(lambda: moved(lambda theta: theta * float("nan")))
    assert set(entry.readings) == set(DEFAULT_METRICS["same-weights"])
    assert all("NaN or infinity in weights" in reading.not_gateable for reading in entry.readings.values())
    assert all("measure an earlier checkpoint" in reading.fix for reading in entry.readings.values())


@pytest.mark.parametrize("raises", [True, False], ids=["raised", "told"])
def test_one_analysis_that_fails_leaves_the_others_known(raises: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss overflows within the ball of sharpness alone."""

    def fail(*args: object) -> None:
        raise NumericalError("the loss is inf")

    if raises:
        monkeypatch.setattr(Sharpness, "measure", fail)
    rules = parse_policy(metrics=["eig.loss", "sharpness.s_max[0]"])
    work = measuring.MeasurementSetup([Eig(k=1), Sharpness(rho=(3e38,), starts=1, draws=0)])
    entry = measuring.measure_entry("x", lambda: landscape.load(CHECKPOINT), rules, work)
    assert "the loss is" in entry.readings["sharpness.s_max[0]"].not_gateable
    assert not entry.readings["eig.loss"].not_gateable


def test_what_is_stored_reads_as_what_was_measured(tmp_path: Path) -> None:
    """One strategy of products: which is the fastest is a matter of the moment, and decides the last bits."""
    output = tmp_path / "a.landscape.h5"
    work = measuring.MeasurementSetup(ANALYSES, output)
    direct = measuring.measure_entry("digits-mlp.pt", load_with_one_strategy, POLICY, work)
    stored = measuring.read_entry(output, POLICY)
    assert stored.readings == direct.readings == measured(load_with_one_strategy).readings
    assert stored.runs == direct.runs
    assert stored.name.endswith("digits-mlp.pt")


def test_only_a_check_s_own_file_is_replaced_and_a_users_stays(tmp_path: Path) -> None:
    rules = parse_policy(metrics=["eig.loss"])
    for name, kept in (("a.check.landscape.h5", False), ("mine.h5", True)):
        output = tmp_path / name
        landscape.run(Trace(rtol=0.5), landscape.load(CHECKPOINT), output=output)
        other = moved(lambda theta: 1.1 * theta)
        measuring.measure_entry("x", lambda other=other: other, rules, measuring.MeasurementSetup([Eig(k=1)], output))  # type: ignore[misc]
        assert ("trace" in read_results(output)) == kept, name


def test_results_of_other_weights_in_one_file_are_refused_and_the_name_is_of_what_is_judged(tmp_path: Path) -> None:
    output = tmp_path / "mixed.h5"
    other = SAMPLES / "digits-mlp-trajectory" / "step-0840.pt"
    landscape.run(Eig(k=1), landscape.load(CHECKPOINT), output=output)
    landscape.run(Trace(rtol=0.5), landscape.load(other), output=output)
    with pytest.raises(OutputError, match="results of different weights: eig, trace"):
        measuring.read_entry(output, parse_policy(metrics=["eig.loss", "trace.loss"]))
    assert measuring.read_entry(output, parse_policy(metrics=["trace.loss"])).name.endswith("step-0840.pt")
    assert measuring.read_entry(output, parse_policy(metrics=["eig.loss"])).name.endswith("digits-mlp.pt")


def test_a_seed_is_moved_where_there_is_one() -> None:
    assert measuring.with_seed_offset(Eig(seed=3), 2) == Eig(seed=5)
    assert Metric.parse("eig.loss").field == "loss"
