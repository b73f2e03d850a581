"""A monitor: analyses of a model while it trains, in a loop of one's own."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch import nn

from landscape.analyses import Analysis
from landscape.callbacks.loggers import Log, log_functions, scalars_of
from landscape.callbacks.moving_objective import MovingObjective
from landscape.callbacks.pace import Pace, share_of
from landscape.callbacks.undisturbed import finish_queued_work, leave_training_undisturbed
from landscape.checkpoints.weight_sets import optimizer_groups
from landscape.compute.interrupts import interruption
from landscape.errors import LandscapeError, UsageError, clean
from landscape.history import History, read_history
from landscape.history.description import description_of, differences_in_measurement
from landscape.history.edge import CHECKPOINT, EDGE, EDGE_QUANTITIES, EdgeOfStability
from landscape.objective import Objective
from landscape.session import as_analysis, execute

T = TypeVar("T")


class Monitor:
    """Measures a model every so many steps of its training, which goes on as if it were not measured.

    `analyses` are those of `landscape.run`, or their names. `data`, `loss` and `options` make a `landscape.Objective`
    of the model at the first measurement, on the model's own device; a `DataLoader` gives one pass. Measurements take
    at most the share `budget` of the time since training began: one that would take more waits for a later multiple of
    `every`. The first one is made in any case. `history` holds what was measured, and is kept in the file `output`;
    a training that is resumed adds to the file. `logger` gets the numbers: a SummaryWriter, a run of W&B, the module
    mlflow, a logger of Lightning, a function of (values, step), or a list of them. With the `optimizer` the history has
    its learning rate and its edge of stability, and `operator="preconditioned"` takes Adam's divisors of the moment.

    Weights, gradients, buffers, modes and random numbers of the training stay as they are, to the last bit. A
    measurement, a logger or a file that fails does not end the training: a warning says so once. Of several processes
    the first alone measures.

    Raises UsageError for arguments that cannot be used, and OutputError if `output` holds another thing.

    >>> import landscape, torch
    >>> from landscape.callbacks import Monitor
    >>> x = torch.arange(4.0).reshape(4, 1)
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> descent = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> monitor = Monitor([landscape.Eig(k=1)], (x, 2 * x), "mse", every=5, budget=None)
    >>> for step in range(11):
    ...     monitor(model, step)
    ...     descent.zero_grad()
    ...     torch.nn.functional.mse_loss(model(x), 2 * x).backward()
    ...     descent.step()
    >>> monitor.history.steps.tolist(), monitor.history["eig.eigenvalues"][:, 0].tolist()
    ([0, 5, 10], [7.0, 7.0, 7.0])
    """

    def __init__(
        self,
        analyses: Analysis | str | Sequence[Analysis | str],
        data: Any,
        loss: Any = None,
        *,
        every: int = 100,
        budget: float | str | None = "2%",
        output: str | Path | None = None,
        logger: Any = None,
        optimizer: Any = None,
        **options: Any,
    ) -> None:
        self.analyses = _as_analyses(analyses)
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise UsageError(f"every is {every!r}", fix="a number of steps, at least 1")
        self.every, self.pace = every, Pace(share_of(budget))
        self.output = None if output is None else Path(output)
        self._earlier = read_history(self.output) if self.output is not None and self.output.exists() else History()
        self.history = History()
        self._objective, self._given = MovingObjective(data, loss, options), frozenset(options)
        self._loggers = log_functions(logger)
        self.optimizer = optimizer
        preconditioned = any(getattr(each, "operator", "") == "preconditioned" for each in self.analyses)
        self._edge = EdgeOfStability.of(CHECKPOINT, preconditioned=preconditioned)
        self._last_step: int | None = None
        self._said: set[str] = set()

    # -- in the loop ---------------------------------------------------------------------------------------------

    def __call__(self, model: nn.Module, step: int) -> None:
        """Measures the model if the step is a multiple of `every` and the budget has room; else does nothing."""
        with self._training_goes_on():
            self.begin()
            number = operator.index(step)
            if number % self.every or number == self._last_step or not _is_first_rank():
                return
            if self.pace.fits():
                self.measure(model, number)
            else:
                self._say_once(
                    "budget",
                    f"the measurement at step {number} is postponed: it would take about {self.pace.cost:.3g} s, and "
                    f"measurements have taken {self.pace.overhead:.1%} of the time (budget: {self.pace.share:.1%})",
                )

    def measure(self, model: nn.Module, step: int) -> None:
        """Measures the model at this step, whatever the budget."""
        if not _is_first_rank():
            return
        with self._training_goes_on():
            self.begin()
            device = self._objective.device_for(model)
            with leave_training_undisturbed(device):
                finish_queued_work(device)
                self._add(model, operator.index(step))

    def begin(self) -> None:
        """Training begins: the budget counts from here. The first call does it, if nothing else has."""
        self.pace.begin()

    def follow(self, optimizer: Any) -> None:
        """Takes the optimizer of the training framework, if one of the analyses needs it and none was given."""
        if self.optimizer is None and self._edge.preconditioned and "preconditioner" not in self._given:
            self.optimizer = optimizer

    @property
    def overhead(self) -> float:
        """The share of the time since training began that measurements have taken so far."""
        return self.pace.overhead

    def log_to(self, logger: Any) -> None:
        """From now on this logger, or these, get the numbers; raises UsageError for what is no logger."""
        self._loggers = log_functions(logger)

    # -- one measurement -----------------------------------------------------------------------------------------

    def _add(self, model: nn.Module, step: int) -> None:
        """Adds a moment to the history, the file and the loggers, and its time to the budget."""
        began, once = self.pace.clock(), 0.0
        if self._last_step is None:
            moments = tuple(moment for moment in self._earlier.moments if moment.step < step)
            self.history = replace(self._earlier, moments=moments)
        self._last_step = step
        try:
            troubles: list[str] = []
            is_new = not self._objective.is_made
            if self.optimizer is not None and "preconditioner" not in self._given:
                self._objective.follow_optimizer(model, self.optimizer)
            objective = self._attempt("", step, troubles, partial(self._objective.at, model))
            if objective is not None and is_new:
                self._describe(objective, step)
                once = self.pace.clock() - began
            self._measure(objective, step, troubles)
            self._save()
            self._log(step)
        finally:
            self.pace.add(self.pace.clock() - began, once)

    def _measure(self, objective: Objective | None, step: int, troubles: list[str]) -> None:
        """Adds the loss and the results at a step to the history; what went wrong is its trouble."""
        reference = None if objective is None else self._attempt("", step, troubles, lambda: objective.reference)
        values: dict[str, float] = {}
        results: dict[str, Any] = {}
        if objective is not None and reference is not None:
            values = {"loss": reference.loss, "gradient_norm": reference.gradient_norm}
            for analysis in self.analyses:
                work = partial(execute, analysis, objective)
                record = self._attempt(f"{analysis.name}: ", step, troubles, work)
                if record is not None:
                    results[analysis.name] = record.result
        self.history = self.history.with_results(step, f"step {step}", results, values, trouble="; ".join(troubles))
        self._add_edge(step)

    def _add_edge(self, step: int) -> None:
        """Adds the optimizer's learning rate and its edge of stability at a step, if they are known."""
        if self.optimizer is None:
            return
        numbers = optimizer_groups(self.optimizer.state_dict())
        for note in self._edge.notes(step, numbers, f"step {step}"):
            self._say_once(note.replace(f"step {step}", ""), note)
        moment = next(moment for moment in self.history.moments if moment.step == step)
        moment = replace(moment, values={**moment.values, **self._edge.values_at(step, numbers)})
        self.history = self.history.with_moment(moment, EDGE_QUANTITIES)
        words = {EDGE: self._edge.words(numbers)}
        self.history = replace(self.history, attributes={**words, **self.history.attributes})

    def _attempt(self, name: str, step: int, troubles: list[str], work: Callable[[], T]) -> T | None:
        """What the work returns; None after an error, which is said once and added to the troubles."""
        try:
            return work()
        except Exception as error:
            if interruption(error) is not None:
                raise
            troubles.append(name + (error.what if isinstance(error, LandscapeError) else _in_words(error)))
            self._say_once("failure", f"the measurement at step {step} failed, training goes on: {_in_words(error)}")
        return None

    def _describe(self, objective: Objective, step: int) -> None:
        """Notes in the history how it is measured; a file that was measured otherwise stays as it is."""
        about = description_of(objective, self.analyses)
        earlier = any(moment.step < step for moment in self.history.moments)
        differences = differences_in_measurement(about, self.history) if earlier else []
        if differences:
            self._say_once(
                "other measurement",
                f"{self.output} was measured otherwise ({'; '.join(differences)}) and stays as it is; "
                "give another output to keep what is measured now",
            )
            self.output, self.history = None, History()
        self.history = replace(self.history, attributes=about)

    # -- what becomes of it --------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.output is None:
            return
        try:
            self.history.save(self.output)
        except Exception as error:
            if interruption(error) is not None:
                raise
            self._say_once("output", f"the history is not saved, training goes on: {_in_words(error)}")

    def _log(self, step: int) -> None:
        """Gives the numbers of this step to the loggers; one that fails is not called again."""
        moment = next(moment for moment in self.history.moments if moment.step == step)
        values = scalars_of(History((moment,), self.history.quantities))
        failed: list[Log] = []
        for log in self._loggers if values else []:
            try:
                log(dict(values), step)
            except Exception as error:
                if interruption(error) is not None:
                    raise
                failed.append(log)
                words = f"a logger failed at step {step} and is not called again, training goes on"
                self._say_once(f"logger {id(log)}", f"{words}: {_in_words(error)}")
        self._loggers = [log for log in self._loggers if log not in failed]

    @contextmanager
    def _training_goes_on(self) -> Iterator[None]:
        """Whatever is raised within the block, but for signals, is said once and ends there."""
        try:
            yield
        except Exception as error:
            if interruption(error) is not None:
                raise
            self._say_once("failure", f"a measurement failed, training goes on: {_in_words(error)}")

    def _say_once(self, subject: str, text: str) -> None:
        if subject in self._said:
            return
        self._said.add(subject)
        try:
            warnings.warn(text, stacklevel=3)
        except Warning:  # where warnings are errors, this one would end the training
            logging.getLogger("landscape").warning(text)


def _as_analyses(given: Any) -> tuple[Analysis, ...]:
    """The analyses; raises UsageError for none, and for two of one name, which a history could not tell apart."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    analyses = tuple(as_analysis(each) for each in (given if several else [given]))
    names = [analysis.name for analysis in analyses]
    if not names:
        raise UsageError("there is no analysis", fix='a list such as ["eig"]')
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"there are two analyses {twice}", fix="a monitor for each")
    return analyses


def _is_first_rank() -> bool:
    """Whether this process measures: alone, or as the first of those that train together."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, LandscapeError) else clean(f"{type(error).__name__}: {error}")
