"""The edge of stability: the curvature above which gradient descent with a learning rate does not converge."""

from __future__ import annotations

import bisect
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.analyses import Analysis
from landscape.errors import UsageError
from landscape.history.quantities import Quantity

ADAM_MOMENTUM = 0.9  # beta_1, torch's default
CHECKPOINT = "checkpoint"  # in the place of a learning rate: that of the optimizer's state in each checkpoint
SAME = 1e-6  # relative: rates that differ by less are one
EDGE, RATE = "edge", "learning_rate"  # the quantities of a history
EDGE_QUANTITIES = {
    EDGE: Quantity((), "Largest stable curvature at the learning rate."),
    RATE: Quantity((), "Learning rate at the step."),
}
Groups = Sequence[Mapping[str, Any]]  # of an optimizer's state: lr, momentum, dampening, nesterov, betas


@dataclass(frozen=True)
class EdgeOfStability:
    """Largest stable curvature at the learning rates of a run (Cohen et al. 2021, section 2).

    Of gradient descent with momentum beta (heavy ball) it is (2 + 2 beta) / eta, of Nesterov's that over 1 + 2 beta; of
    Adam, for the preconditioned Hessian, (2 + 2 beta_1) / ((1 - beta_1) eta), 38 / eta at beta_1 = .9 (Cohen et al.
    2022, equation 3). `rates` are the steps at which a learning rate begins, with that rate, in order; without any they
    are those of the optimizer's groups. So is a `momentum` that is None; without groups it is 0, or Adam's .9.

    >>> EdgeOfStability.of(0.1).at(500)
    20.0
    >>> EdgeOfStability.of("checkpoint").at(500, [{"lr": 0.5, "momentum": 0.5}])
    6.0
    """

    rates: tuple[tuple[float, float], ...]
    momentum: float | None = None
    preconditioned: bool = False

    @classmethod
    def of(
        cls, rate: float | str | Path, momentum: float | None = None, *, preconditioned: bool = False
    ) -> EdgeOfStability:
        """From a learning rate, a file with the columns step and lr (CSV), or a JSON object of rates by step.

        The word `checkpoint` means the rates in the optimizer's groups. Raises UsageError for rates that are not
        positive, and for a file that cannot be read.
        """
        rates = [] if rate == CHECKPOINT else _read_rates(rate)
        if rate != CHECKPOINT and (not rates or any(not eta > 0 for _, eta in rates)):
            raise UsageError(f"the learning rate {rate} is not positive", fix="--lr 0.1, or --lr FILE with step,lr")
        if momentum is not None and not 0 <= momentum < 1:
            raise UsageError(f"--momentum is {momentum}", fix="a number from 0 to below 1")
        return cls(tuple(sorted(rates)), momentum, preconditioned)

    @classmethod
    def of_run(
        cls, analyses: Sequence[Analysis], rate: float | str | Path | None, momentum: float | None
    ) -> EdgeOfStability | None:
        """For the matrix of these analyses; None without a learning rate."""
        preconditioned = any(getattr(each, "operator", "") == "preconditioned" for each in analyses)
        return None if rate is None else cls.of(rate, momentum, preconditioned=preconditioned)

    def rate_at(self, step: float, groups: Groups = ()) -> float:
        """The learning rate at a step: the last that began by then, before the first one that one.

        Without rates it is the largest of the groups, whose edge is the lowest; NaN if they have none.
        """
        if not self.rates:
            return max((float(group["lr"]) for group in groups if "lr" in group), default=math.nan)
        place = bisect.bisect_right([begin for begin, _ in self.rates], step) - 1
        return self.rates[max(place, 0)][1]

    def at(self, step: float, groups: Groups = ()) -> float:
        """The largest stable curvature at a step; infinite at a rate of 0."""
        rate = self.rate_at(step, groups)
        return self._factor(groups) / rate if rate else math.inf

    def values_at(self, step: float, groups: Groups = ()) -> dict[str, float]:
        """The numbers of a history at a step: the edge and the learning rate."""
        return {EDGE: self.at(step, groups), RATE: self.rate_at(step, groups)}

    def words(self, groups: Groups = ()) -> str:
        """The formula, for a legend."""
        return f"{self._factor(groups):.10g} / learning rate"

    def notes(self, step: float, groups: Groups, name: str) -> list[str]:
        """Where the optimizer's state in the checkpoint of that name says something else, or several things."""
        if not groups:
            return [f"{name} holds no optimizer's state with a learning rate"] if not self.rates else []
        return [*self._about_rates(step, groups, name), *self._about_momenta(groups, name)]

    def _about_rates(self, step: float, groups: Groups, name: str) -> Iterator[str]:
        """Rates that differ between groups, or from the one that was given."""
        held = sorted({float(group["lr"]) for group in groups if "lr" in group})
        used = self.rate_at(step, groups)
        if len(held) > 1:
            rates = ", ".join(f"{rate:g}" for rate in held)
            yield f"the optimizer in {name} has groups of the learning rates {rates}: the edge is that of {used:g}"
        elif held and abs(held[0] - used) > SAME * used:
            yield f"the optimizer in {name} has the learning rate {held[0]:g} at step {step:g}, and --lr is {used:g}"

    def _about_momenta(self, groups: Groups, name: str) -> Iterator[str]:
        """Momenta that differ between groups, or from the one that was given; and Adam's edge of another matrix."""
        held = _momenta(groups, self.preconditioned)
        used = self._beta(groups)
        word = "beta_1" if self.preconditioned else "momentum"
        if len(held) > 1:
            values = ", ".join(f"{beta:g}" for beta in held)
            yield f"the optimizer in {name} has groups of {word} {values}: the edge is that of {used:g}"
        elif held and held[0] != used:
            yield f"the optimizer in {name} has {word} {held[0]:g}, and --momentum is {used:g}"
        if not self.preconditioned and any("betas" in group for group in groups):
            yield (
                f"the optimizer in {name} is of Adam's kind, whose edge is one of the preconditioned Hessian: "
                "--operator preconditioned"
            )

    def _beta(self, groups: Groups) -> float:
        """The momentum: what was given, else that of the groups if they have one, else the usual one."""
        if self.momentum is not None:
            return self.momentum
        held = _momenta(groups, self.preconditioned)
        return held[0] if len(held) == 1 else ADAM_MOMENTUM if self.preconditioned else 0.0

    def _factor(self, groups: Groups) -> float:
        """The edge at a learning rate of 1."""
        beta = self._beta(groups)
        if self.preconditioned:
            return round((2 + 2 * beta) / (1 - beta), 9)
        nesterov = bool(groups) and all(group.get("nesterov") for group in groups)
        dampened = {float(group.get("dampening", 0.0)) for group in groups} if beta else {0.0}
        kept = 1 - (dampened.pop() if len(dampened) == 1 else 0.0)
        return (2 + 2 * beta) / (1 + 2 * beta if nesterov else kept)


def _momenta(groups: Groups, preconditioned: bool) -> list[float]:
    """The momenta that the groups have, each once: beta_1 of Adam's kind."""
    if preconditioned:
        return sorted({float(group["betas"][0]) for group in groups if "betas" in group})
    return sorted({float(group["momentum"]) for group in groups if "momentum" in group})


def _read_rates(rate: float | str | Path) -> list[tuple[float, float]]:
    try:
        return [(0.0, float(rate))]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        path = Path(rate)  # type: ignore[arg-type]
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("{"):
            return [(float(step), float(eta)) for step, eta in json.loads(text).items()]
        return [(float(step), float(eta)) for step, eta in _rows(text)]
    except (OSError, ValueError, TypeError) as error:
        what = getattr(error, "strerror", None) or error
        raise UsageError(f"--lr {path} cannot be read: {what}", fix="a number, or a file with lines step,lr") from error


def _rows(text: str) -> list[tuple[Any, Any]]:
    """The columns step and lr of a table, by their names, or its two columns."""
    lines = [line for line in csv.reader(text.splitlines()) if line]
    if not lines:
        raise ValueError("it is empty")
    heads = [cell.strip().lower() for cell in lines[0]]
    if "step" in heads:
        rate = next((name for name in ("lr", "learning_rate", "eta") if name in heads), None)
        if rate is None:
            raise ValueError("it has no column lr")
        return [(line[heads.index("step")], line[heads.index(rate)]) for line in lines[1:]]
    if any(len(line) != 2 for line in lines):
        raise ValueError("its lines are not step,lr")
    return [(line[0], line[1]) for line in lines]
