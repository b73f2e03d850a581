"""The interface of analyses: trouble is a value, a module measures, and NumPy's numbers are options."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from landscape.analyses import ANALYSES, Analysis, Plan, Progress, Result, Trouble
from landscape.analyses.base import MeasurementModule
from landscape.errors import UsageError
from landscape.fields import option, scalar


@dataclass(frozen=True)
class Answer(Result):
    value: float = scalar("The answer.")

    def inconclusive(self) -> Trouble | None:
        return Trouble("not finite: value", "--dtype float64", "not finite") if np.isnan(self.value) else None


@dataclass(frozen=True)
class Question(Analysis):
    name: ClassVar[str] = "question"
    summary: ClassVar[str] = "A question."
    result: ClassVar[type[Result]] = Answer

    size: int = option(3, help="Its size.", min=1)
    secret: int = option(0, help="Decides nothing.", identity=False)

    def measurement(self) -> MeasurementModule:
        module: Any = ModuleType("question_measurement")

        def measure(analysis: Question, objective: Any, resume: Any) -> Generator[Progress, None, Answer]:
            yield Progress(1, 1, "asked", dict)
            return Answer(value=float(analysis.size + objective))

        module.measure = measure
        module.plan = lambda analysis, objective: Plan(analysis.size, 1, 0.0, {})
        measuring: MeasurementModule = module
        return measuring


@dataclass(frozen=True)
class Unfinished(Analysis):
    name: ClassVar[str] = "unfinished"


def test_the_module_of_measurement_measures_and_plans() -> None:
    steps: Any = Question(size=4).measure(2)  # type: ignore[arg-type]
    assert next(steps).note == "asked"
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == Answer(value=6.0)
    assert Question(size=4).plan(2).bytes == 4  # type: ignore[arg-type]


def test_an_analysis_without_a_measurement_says_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match=r"Unfinished defines neither measurement\(\) nor measure\(\)"):
        Unfinished().measure(None)  # type: ignore[arg-type]


def test_a_conclusive_result_has_no_trouble_and_may_be_gated() -> None:
    result = Answer(value=1.0)
    assert result.trouble() is None
    assert (result.not_gateable("value", ()), result.not_unique("value", ()), result.notes) == ("", "", ())


def test_trouble_reads_as_its_reason_and_forbids_gating() -> None:
    result = Answer(value=float("nan"))
    trouble = result.trouble()
    assert trouble
    assert f"inconclusive: {trouble}" == "inconclusive: not finite: value"
    assert (trouble.fix, trouble.kind) == ("--dtype float64", "not finite")
    assert result.not_gateable("value", ()) == "not finite: value"


def test_numbers_of_numpy_become_python_s_and_are_checked() -> None:
    analysis = Question(size=np.int64(7))  # type: ignore[arg-type]
    assert type(analysis.size) is int
    with pytest.raises(UsageError, match="--size is 0"):
        Question(size=np.int64(0))  # type: ignore[arg-type]


def test_the_identity_leaves_out_what_decides_nothing() -> None:
    assert Question(size=5, secret=9).identity() == {"size": 5}


def test_the_reference_loss_of_a_result_without_a_loss_is_nan() -> None:
    assert np.isnan(Answer(value=1.0).reference_loss())


def test_summaries_fit_into_the_list_of_commands_of_a_narrow_terminal() -> None:
    assert [kind.name for kind in ANALYSES if len(kind.summary) > 80 - 15] == []


def test_what_a_result_means_is_said_of_conclusive_ones_alone() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Meant(Result):
        ended: bool = scalar("Whether it ended.")

        def inconclusive(self) -> Trouble | None:
            return None if self.ended else Trouble("it did not end")

        def meaning(self) -> str:
            return "it is small"

        def remarks(self) -> list[str]:
            return ["a remark"]

    assert Meant(ended=True).sentences() == ["it is small", "a remark"]
    assert Meant(ended=False).sentences() == ["a remark"]
    assert Result().sentences() == []
