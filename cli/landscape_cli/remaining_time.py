"""How long a measurement still takes: by its plan at first, then more and more by the pace that it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from landscape.analyses import Plan, Progress

WHOLE = ""  # the phase of a plan without phases
MAX_REPORTS = 256  # of a phase that are kept: every other one of more
DOUBT = 0.25  # of the plan: phases of that length are believed by half
RECENT = 0.5  # of the time of a phase: the reports in its last half give the pace


@dataclass
class RemainingTime:
    """An estimate of the seconds left, from the planned seconds of each phase and the reports of its steps.

    Times are those of one clock, in seconds; `began` is that of the beginning. A phase that is not planned is estimated
    by its own pace alone. Phases that the plan puts later take their planned time, corrected by what earlier ones took.
    """

    planned: Mapping[str, float]
    began: float

    def __post_init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._current: _Phase | None = None
        self._first: str | None = None
        self._last = self.began

    @classmethod
    def of(cls, plan: Plan | None, began: float) -> RemainingTime:
        """The estimate for a plan; None is no plan."""
        if plan is None:
            return cls({}, began)
        return cls(dict(plan.phases) or {WHOLE: plan.seconds}, began)

    def report(self, step: Progress, now: float) -> bool:
        """Takes a step into account that ended now; returns whether it is the first one of its phase."""
        self._first = step.phase if self._first is None else self._first
        name = self._planned_name(step.phase)
        known = self._phases.get(name)
        if known is None:
            seconds = self.planned.get(name)
            known = self._phases[name] = _Phase(None if seconds is None else seconds * self._correction(), self._last)
        first = known is not self._current
        self._current, self._last = known, now
        known.report(step.done, step.total, now)
        return first

    def seconds(self, now: float) -> float | None:
        """The seconds left; None if they are not known, or the plan's are over without a step."""
        left_of_phase = None if self._current is None else self._current.seconds_left(now)
        if left_of_phase is None:
            left = sum(self.planned.values()) - (now - self.began)
            return left if left > 0 else None
        return left_of_phase + self._correction() * sum(seconds for _, seconds in self._later())

    def _planned_name(self, phase: str) -> str:
        """The name under which the plan has a phase: its own, or its first word; a plan without names has the first."""
        names = (phase, phase.partition(" ")[0], *([WHOLE] if phase == self._first else []))
        return next((name for name in names if name in self.planned), phase)

    def _later(self) -> list[tuple[str, float]]:
        """The planned phases after the last one that has begun."""
        begun = [place for place, name in enumerate(self.planned) if name in self._phases]
        return list(self.planned.items())[max(begun, default=-1) + 1 :]

    def _correction(self) -> float:
        """How many times as long as planned later phases will take, by those that had a plan and have begun.

        Short phases say little of the others: of the ratio's logarithm only a part counts.
        """
        phases = [(name, phase) for name, phase in self._phases.items() if name in self.planned]
        planned = sum(self.planned[name] for name, _ in phases)
        took = sum(phase.seconds_in_all() for _, phase in phases)
        if not (planned > 0 and took > 0):
            return 1.0
        weight = planned / (planned + DOUBT * sum(self.planned.values()))
        return float((took / planned) ** weight)


@dataclass
class _Phase:
    """The reports of one phase: times, and steps done; `planned` are its seconds, None if they are not known."""

    planned: float | None
    began: float
    reports: list[tuple[float, int]] = field(default_factory=list)
    growths: int = 0
    total: int = 0

    def report(self, done: int, total: int, now: float) -> None:
        """Adds a report; one without growth only moves the clock of others."""
        self.total = total
        if not self.reports and done <= 1:  # the phase has begun with this step, and is not resumed
            self.reports.append((self.began, 0))
        if not self.reports or done > self.reports[-1][1]:
            self.growths += bool(self.reports)
            self.reports.append((now, done))
        if len(self.reports) > MAX_REPORTS:
            self.reports = [*self.reports[:1], *self.reports[1:-1:2], *self.reports[-1:]]

    @property
    def done(self) -> int:
        """The steps done."""
        return self.reports[-1][1]

    def seconds_left(self, now: float) -> float | None:
        """The seconds left of the phase; None if they are not known."""
        if self.total <= 0:
            return None
        if (left := self.total - self.done) <= 0:
            return 0.0
        since = now - self.reports[-1][0]
        planned = None if self.planned is None else self.planned / self.total
        if not self.growths:
            return None if planned is None or planned * left <= since else planned * left - since
        pace, step = self._pace(now)
        if planned is not None and planned > 0 and pace > 0:  # a plan counts as much as one report
            pace = math.exp((math.log(planned) + self.growths * math.log(pace)) / (1 + self.growths))
        return max(left * pace - min(since, step * pace), 0.0)

    def seconds_in_all(self) -> float:
        """The seconds of the whole phase, of which an earlier run may have done a part: by its pace, or as planned."""
        (first, begin), (last, end) = self.reports[0], self.reports[-1]
        return self.total * (last - first) / (end - begin) if self.growths else self.planned or 0.0

    def _pace(self, now: float) -> tuple[float, float]:
        """Seconds of a step by the later reports, and the steps between two of them; longer if the next one is late."""
        first, last = self.reports[0][0], self.reports[-1][0]
        middle = first + (1 - RECENT) * (last - first)
        begin = max((place for place, (time, _) in enumerate(self.reports[:-1]) if time <= middle), default=0)
        recent = self.reports[begin:]
        steps, seconds = recent[-1][1] - recent[0][1], last - recent[0][0]
        step = steps / (len(recent) - 1)
        return max(seconds / steps, (now - recent[0][0]) / (steps + step)), step
