"""The edge of stability: the curvature above which gradient descent with a learning rate does not converge."""

from __future__ import annotations

import bisect
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.analyses import Analysis
from landscape.errors import UsageError

ADAM_MOMENTUM = 0.9  # beta_1, torch's default


@dataclass(frozen=True)
class EdgeOfStability:
    """Largest stable curvature at the learning rates of a run (Cohen et al. 2021, section 2).

    Of gradient descent with momentum beta (heavy ball) it is (2 + 2 beta) / eta; of Adam, for the preconditioned
    Hessian, (2 + 2 beta_1) / ((1 - beta_1) eta), 38 / eta at beta_1 = .9 (Cohen et al. 2022, equation 3).
    `rates` are the steps at which a learning rate begins, with that rate, in order.

    >>> EdgeOfStability.of(0.1).at(500)
    20.0
    """

    rates: tuple[tuple[float, float], ...]
    momentum: float = 0.0
    preconditioned: bool = False

    @classmethod
    def of(
        cls, rate: float | str | Path, momentum: float | None = None, *, preconditioned: bool = False
    ) -> EdgeOfStability:
        """From a learning rate, or a file with the columns step and lr (CSV), or a JSON object of rates by step.

        Raises UsageError for rates that are not positive, and for a file that cannot be read.
        """
        usual = ADAM_MOMENTUM if preconditioned else 0.0
        rates = _read_rates(rate)
        if not rates or any(not eta > 0 for _, eta in rates):
            raise UsageError(f"the learning rate {rate} is not positive", fix="--lr 0.1, or --lr FILE with step,lr")
        beta = usual if momentum is None else momentum
        if not 0 <= beta < 1:
            raise UsageError(f"--momentum is {beta}", fix="a number from 0 to below 1")
        return cls(tuple(sorted(rates)), beta, preconditioned)

    @classmethod
    def of_run(
        cls, analyses: Sequence[Analysis], rate: float | str | Path | None, momentum: float | None
    ) -> EdgeOfStability | None:
        """For the matrix of these analyses; None without a learning rate."""
        preconditioned = any(getattr(each, "operator", "") == "preconditioned" for each in analyses)
        return None if rate is None else cls.of(rate, momentum, preconditioned=preconditioned)

    def rate_at(self, step: float) -> float:
        """The learning rate at a step: the last that began by then, before the first one that one."""
        place = bisect.bisect_right([begin for begin, _ in self.rates], step) - 1
        return self.rates[max(place, 0)][1]

    def at(self, step: float) -> float:
        """The largest stable curvature at a step."""
        return self._factor / self.rate_at(step)

    @property
    def words(self) -> str:
        """The formula, for a legend."""
        return f"{self._factor:g} / learning rate"

    @property
    def _factor(self) -> float:
        factor = 2 + 2 * self.momentum
        return round(factor / (1 - self.momentum), 9) if self.preconditioned else factor


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
