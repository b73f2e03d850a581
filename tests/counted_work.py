"""Counts the products, gradients and losses that are made, with what each costs in gradients over the full data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor

from landscape.evaluation import points
from landscape.objective import Objective
from landscape.operators import GaussNewtonOperator
from landscape.operators.sample_range import SampleRangeOperator
from landscape.operators.summed import SummedOperator

PRODUCT, GAUSS_NEWTON_PRODUCT, LOSS = 2.0, 1.5, 1 / 3  # gradients


@dataclass
class CountedWork:
    """The work that was made, in gradients over `samples` samples."""

    samples: int
    gradients: float = 0.0

    def add(self, each: float, times: float, samples: float) -> None:
        """Adds work over some of the samples."""
        self.gradients += each * times * samples / self.samples


@contextmanager
def count_work(samples: int) -> Iterator[CountedWork]:
    """Counts what is made within the block; products of diagonal blocks are not seen."""
    work = CountedWork(samples)
    with pytest.MonkeyPatch.context() as patch:

        def count(place: Any, name: str, made: Callable[..., tuple[float, float, float]]) -> None:
            original = getattr(place, name)

            def counted(*args: Any, **kwargs: Any) -> Any:
                work.add(*made(*args))
                return original(*args, **kwargs)

            patch.setattr(place, name, counted)

        def product(operator: SummedOperator, block: Tensor, *_: Any) -> tuple[float, float, float]:
            each = GAUSS_NEWTON_PRODUCT if isinstance(operator, GaussNewtonOperator) else PRODUCT
            return each, block.shape[1], operator.objective.batches.samples

        def product_on_range(operator: SampleRangeOperator, block: Tensor) -> tuple[float, float, float]:
            return PRODUCT, block.shape[1], operator.end - operator.first

        count(SummedOperator, "matmat", product)
        count(SummedOperator, "quadratics", product)
        count(SampleRangeOperator, "matmat", product_on_range)
        count(Objective, "value", lambda objective, *_: (LOSS, 1, objective.batches.samples))
        count(Objective, "value_and_gradient", lambda objective, *_: (1, 1, objective.batches.samples))
        count(points, "values", lambda objective, thetas: (LOSS, thetas.shape[1], objective.batches.samples))
        count(points, "values_and_gradients", lambda objective, thetas: (1, thetas.shape[1], objective.batches.samples))
        yield work
