"""A monitor measures a training, and leaves it as it is."""

from __future__ import annotations

import copy
import signal
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from training import dropout_net, loop, samples, train, watch_steps

import landscape
from landscape.callbacks import Monitor
from landscape.errors import Interrupted, OutputError, UsageError
from landscape.history import read_history

EIG = landscape.Eig(k=2)


def monitor(analyses: Any = EIG, **options: Any) -> Monitor:
    return Monitor(analyses, samples(), "cross_entropy", **{"every": 3, "budget": None, **options})


# -- the training is not changed by a bit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "analyses",
    [["eig", "trace"], [landscape.Sharpness(starts=2, draws=4), landscape.Density(probes=2, steps=4)]],
    ids=["curvature", "sharpness"],
)
def test_a_measured_training_is_the_unmeasured_one_bit_for_bit(analyses: Any, tmp_path: Path) -> None:
    watch = monitor(analyses, output=tmp_path / "a.h5", logger=lambda values, step: torch.rand(3))
    assert loop(watch) == loop()
    assert watch.history.steps.tolist() == [0, 3, 6, 9]
    assert [moment.trouble for moment in watch.history.moments if "failed" in moment.trouble] == []


def test_the_loader_of_the_training_may_be_the_data_too() -> None:
    def run(measured: bool) -> tuple[dict[str, Any], Any]:
        torch.manual_seed(1)
        generator, model = torch.Generator().manual_seed(7), dropout_net()
        loader = DataLoader(TensorDataset(*samples()), batch_size=8, shuffle=True, generator=generator)
        watch = Monitor(EIG, loader, "cross_entropy", every=3, budget=None) if measured else None
        return train(model, loader, watch), generator.get_state().tolist()

    assert run(True) == run(False)


def test_a_measurement_that_fails_changes_nothing_either() -> None:
    with pytest.warns(UserWarning, match="training goes on"):
        measured = loop(monitor(landscape.Eig(k=10_000)))
    assert measured == loop()


SURROUNDINGS: dict[str, AbstractContextManager[object]] = {
    "nothing": nullcontext(),
    "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
    "no-grad": torch.no_grad(),
    "inference-mode": torch.inference_mode(),
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_the_numbers_are_those_of_the_model_at_that_step(surroundings: AbstractContextManager[object]) -> None:
    model = dropout_net()
    copies: list[nn.Module] = []
    watch = monitor()
    for step in (0, 3):
        with torch.no_grad():
            model[0].weight.mul_(1.3)
            model[1].running_var.add_(0.2)
        with surroundings:
            watch(model, step)
        copies.append(copy.deepcopy(model))
    for place, earlier in enumerate(copies):
        objective = landscape.Objective(earlier, samples(), "cross_entropy")
        expected = landscape.run(EIG, objective)
        np.testing.assert_allclose(watch.history["eig.eigenvalues"][place], expected.eigenvalues, rtol=1e-6)
        assert watch.history["loss"][place] == float(objective.reference.loss)
        assert watch.history["gradient_norm"][place] == pytest.approx(objective.reference.gradient_norm, rel=1e-6)


# -- when it measures --------------------------------------------------------------------------------------------


def test_it_measures_once_at_multiples_of_every() -> None:
    seen: list[int] = []
    watch, model = monitor(every=4, logger=lambda values, step: seen.append(step)), dropout_net()
    watch_steps(watch, model, 1, 4, 4, 5, 8, 9)  # a step is seen twice where gradients are accumulated
    assert seen == watch.history.steps.tolist() == [4, 8]
    watch.measure(model, 9)
    assert watch.history.steps.tolist() == [4, 8, 9]


@dataclass(eq=False)
class CostlyLoss:
    """Cross-entropy, whose every evaluation takes a tenth of a second of a clock of our own."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.now += 0.1
        return nn.functional.cross_entropy(output, target, reduction="none")


def overheads(watch: Monitor, loss: CostlyLoss, count: int) -> list[float]:
    """The share of the time that measurements had taken at the end of each, in a training of a second a step."""
    model, shares, step = dropout_net(), [], 0
    while len(shares) < count:
        step += 1
        loss.now += 1.0
        watch(model, step)
        if watch.history.steps.size > len(shares):
            shares.append(watch.overhead)
    return shares


@pytest.mark.parametrize("budget", ["2%", 0.2])
def test_measurements_keep_within_the_budget(budget: float | str) -> None:
    loss = CostlyLoss()
    watch = Monitor(EIG, samples(), loss, every=1, budget=budget)
    watch.pace.clock = loss.clock
    with pytest.warns(UserWarning, match=r"the measurement at step \d+ is postponed") as said:
        shares = overheads(watch, loss, 4)
    assert len(said) == 1  # it is said once
    assert watch.pace.cost is not None
    assert watch.pace.cost > 0.5
    assert max(shares[1:]) <= float(watch.pace.share or 0) < shares[0]


def test_only_the_first_of_several_processes_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    for rank, count in ((1, 0), (0, 2)):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        watch, model = monitor(), dropout_net()
        watch(model, 0)
        watch.measure(model, 1)
        assert len(watch.history.moments) == count
        assert watch._objective._objective is None or watch._objective._objective.ranks.size == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------


def spoil(model: nn.Sequential) -> None:
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan


def test_weights_that_are_not_finite_leave_a_moment_with_its_trouble() -> None:
    watch, model = monitor(), dropout_net()
    watch(model, 0)
    spoil(model)
    with pytest.warns(UserWarning, match=r"(?s)step 3 failed, training goes on: NaN or .*fix:") as said:
        watch_steps(watch, model, 3, 6)
    assert len(said) == 1
    assert [bool(moment.trouble) for moment in watch.history.moments] == [False, True, True]
    assert np.isnan(watch.history["eig.eigenvalues"][1:]).all()


def test_a_model_that_cannot_be_measured_at_first_is_measured_later() -> None:
    watch, model = monitor(), dropout_net()
    good = copy.deepcopy(model)
    spoil(model)
    with pytest.warns(UserWarning, match="NaN"):
        watch(model, 0)
    watch(good, 3)
    assert [bool(moment.trouble) for moment in watch.history.moments] == [True, False]


def test_an_analysis_that_fails_leaves_the_others() -> None:
    watch = monitor([landscape.Eig(k=10_000), "trace"])
    with pytest.warns(UserWarning, match="training goes on"):
        watch(dropout_net(), 0)
    assert watch.history.moments[0].trouble.startswith("eig: ")
    assert np.isfinite(watch.history["trace.trace"]).all()


@pytest.mark.parametrize(("model", "step"), [("no model", 0), (dropout_net(), "no step"), (nn.ReLU(), 0)])
def test_whatever_it_is_called_with_training_goes_on(model: Any, step: Any) -> None:
    with pytest.warns(UserWarning, match="training goes on"):
        monitor()(model, step)


def test_where_warnings_are_errors_training_goes_on_too(caplog: pytest.LogCaptureFixture) -> None:
    model = dropout_net()
    spoil(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor()(model, 0)
    assert "NaN or infinity" in caplog.text


@dataclass
class Stops:
    """Data during whose pass somebody stops the program."""

    error: BaseException

    def __iter__(self) -> Iterator[Any]:
        raise self.error
        yield


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(signal.SIGTERM, "stopped"), SystemExit(3)])
def test_who_stops_the_program_stops_it(error: BaseException) -> None:
    with pytest.raises((type(error), Interrupted)):
        Monitor(EIG, Stops(error), "cross_entropy")(dropout_net(), 0)


# -- the file and the loggers ------------------------------------------------------------------------------------


def test_the_file_is_as_new_as_the_history(tmp_path: Path) -> None:
    watch, model = monitor(output=tmp_path / "run.h5"), dropout_net()
    for step in (0, 3):
        watch(model, step)
        stored = read_history(tmp_path / "run.h5")
        assert stored.moments[-1].step == step
        np.testing.assert_array_equal(stored["eig.eigenvalues"], watch.history["eig.eigenvalues"])
    assert stored.attributes["samples"] == 48


def test_a_training_that_is_resumed_adds_to_its_file(tmp_path: Path) -> None:
    output, model = tmp_path / "run.h5", dropout_net()
    first = monitor(output=output)
    for step in (0, 3, 6):
        first(model, step)
    second = monitor(output=output)
    for step in (3, 6, 9):  # from the checkpoint at step 3 on
        second(model, step)
    assert read_history(output).steps.tolist() == [0, 3, 6, 9]
    monitor(output=output)(model, 0)  # from the beginning
    assert read_history(output).steps.tolist() == [0]


def test_a_file_that_was_measured_otherwise_stays_as_it_is(tmp_path: Path) -> None:
    output, model = tmp_path / "run.h5", dropout_net()
    monitor(output=output)(model, 0)
    before = output.read_bytes()
    other = Monitor(landscape.Eig(k=3), samples(), "cross_entropy", every=3, budget=None, output=output)
    with pytest.warns(UserWarning, match="was measured otherwise .*k: 3 here, 2 there|was measured otherwise"):
        other(model, 3)
    assert output.read_bytes() == before
    assert other.history.steps.tolist() == [3]


def test_another_file_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError):
        monitor(output=tmp_path / "mine.txt")


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    watch, model = monitor(output=tmp_path / "nowhere" / "run.h5"), dropout_net()
    with pytest.warns(UserWarning, match="the history is not saved, training goes on") as said:
        watch_steps(watch, model, 0, 3)
    assert len(said) == 1
    assert watch.history.steps.tolist() == [0, 3]


def test_a_logger_that_fails_is_said_once_and_not_called_again() -> None:
    calls: list[tuple[str, int]] = []

    def closed(values: dict[str, float], step: int) -> None:
        calls.append(("closed", step))
        raise ValueError("the run is closed")

    watch = monitor(logger=[closed, lambda values, step: calls.append(("open", step))])
    with pytest.warns(UserWarning, match="not called again, training goes on: ValueError: the run is closed") as said:
        watch_steps(watch, dropout_net(), 0, 3)
    assert len(said) == 1
    assert calls == [("closed", 0), ("open", 0), ("open", 3)]
    assert [moment.trouble for moment in watch.history.moments] == ["", ""]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every": 0}, "every is 0"),
        ({"every": 2.5}, "every is 2.5"),
        ({"every": True}, "every is True"),
        ({"budget": "0%"}, "the budget is"),
        ({"logger": 3}, "no logger"),
        ({"limt": 3}, "did you mean limit"),
        ({"analyses": []}, "no analysis"),
        ({"analyses": ["eig", EIG]}, "two analyses eig"),
        ({"analyses": "eigg"}, "did you mean eig"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used_are_refused_before_training(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        monitor(**arguments)


# -- the optimizer of the training -------------------------------------------------------------------------------


def test_adam_s_divisors_are_those_of_each_moment() -> None:
    """Against the Hessian between the divisors of the optimizer's state, and the edge that belongs to them."""
    torch.manual_seed(2)
    model, data = tanh_net(), (torch.randn(12, 5), torch.arange(12) % 3)
    adam = torch.optim.Adam(model.parameters(), lr=0.05, betas=(0.5, 0.9))
    analyses = [landscape.Eig(k=1, operator="preconditioned", tol=1e-6)]
    watch = Monitor(analyses, data, "cross_entropy", every=2, budget=None, optimizer=adam, dtype="float64")
    expected = []
    for step in range(6):
        if step % 2 == 0 and step:
            expected.append(largest_preconditioned(model, adam, data))
            watch(model, step)
        adam.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()  # type: ignore[no-untyped-call]
        adam.step()
    assert watch.history["eig.eigenvalues"][:, 0].tolist() == pytest.approx(expected, rel=1e-4)
    assert len(set(expected)) == 2
    assert watch.history["edge"].tolist() == pytest.approx([3 / 0.5 / 0.05] * 2)
    assert watch.history.attributes["edge"] == "6 / learning rate"


def largest_preconditioned(model: nn.Module, adam: torch.optim.Adam, data: tuple[Tensor, Tensor]) -> float:
    """The largest eigenvalue of P^-1/2 H P^-1/2, dense, with P of Kingma and Ba 2015, algorithm 1."""
    parameters = {name: value.detach().double() for name, value in model.named_parameters()}
    double = copy.deepcopy(model).double()

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([value.numel() for value in parameters.values()])
        shaped = {name: part.reshape(parameters[name].shape) for name, part in zip(parameters, parts, strict=True)}
        outputs = torch.func.functional_call(double, shaped, (data[0].double(),))
        return nn.functional.cross_entropy(outputs, data[1])

    flat = torch.cat([value.reshape(-1) for value in parameters.values()])
    hessian = torch.func.hessian(loss)(flat)
    states = [adam.state[parameter] for parameter in model.parameters()]
    second = torch.cat([(one["exp_avg_sq"].double() / (1 - 0.9 ** float(one["step"]))).reshape(-1) for one in states])
    root = (second.sqrt() + 1e-8).rsqrt()
    return float(torch.linalg.eigvalsh(root[:, None] * hessian * root[None, :])[-1])


def test_a_preconditioner_that_would_stay_that_of_the_first_step_is_refused() -> None:
    tensors = {name: torch.ones_like(value) for name, value in dropout_net().named_parameters()}
    with pytest.raises(UsageError, match="mapping of tensors") as caught:
        monitor(landscape.Eig(k=1, operator="preconditioned"), preconditioner=tensors)
    assert "optimizer=" in str(caught.value)


def test_the_edge_follows_a_schedule_and_other_momenta_are_said() -> None:
    model, data = dropout_net(), samples()
    groups = [{"params": [value], "momentum": 0.9 * (place > 0)} for place, value in enumerate(model.parameters())]
    descent = torch.optim.SGD(groups, lr=0.1)
    watch = Monitor(EIG, data, "cross_entropy", every=1, budget=None, optimizer=descent)
    with pytest.warns(UserWarning, match="groups of momentum 0, 0.9"):
        watch(model, 0)
    for group in descent.param_groups:
        group["lr"] = 0.05
    watch(model, 1)
    assert watch.history["learning_rate"].tolist() == [0.1, 0.05]
    assert watch.history["edge"].tolist() == pytest.approx([20.0, 40.0])
