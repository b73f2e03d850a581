"""Measures the metrics of a gate's policy, for `landscape check` and for the pytest plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.analyses import Analysis, Result
from landscape.analyses.base import Trouble
from landscape.errors import NumericalError, OutputError
from landscape.gates.entry import Entry, entry_of_results
from landscape.gates.metric import RESULT_TYPES
from landscape.gates.policy import Policy
from landscape.session import ProgressCallback, StopSignals, execute, has_readable_attributes, ignore_progress
from landscape.session.stored import result_of
from landscape.storage import paths
from landscape.storage.read import StoredResult, read_results
from landscape.storage.write import require_results_file

if TYPE_CHECKING:
    from landscape.objective import Objective


CHECK_KIND = (
    ".check"  # in the name of the results file that a check writes, so that it does not replace the user's own results
)


@dataclass(frozen=True)
class MeasurementSetup:
    """How a checkpoint is measured: the analyses, the results file, and who hears of the progress."""

    analyses: Sequence[Analysis]
    output: Path | None = None
    restart: bool = False
    stop: StopSignals | None = None
    say: Callable[[str], None] = lambda line: None
    reporter: Callable[[str], AbstractContextManager[ProgressCallback]] = field(
        default=lambda title: nullcontext(ignore_progress)
    )


def measure_entry(name: str, load: Callable[[], Objective], policy: Policy, work: MeasurementSetup) -> Entry:
    """The readings of a checkpoint under a name; where numbers are not finite, the readings say so."""
    try:
        objective = load()
    except NumericalError as error:
        return entry_of_results(name, {}, policy.metrics, dict.fromkeys(policy.analyses, _trouble(error)))
    if work.output is not None and work.output.name.endswith(CHECK_KIND + paths.RESULTS):
        _discard_other_weights(work.output, objective.weights_sha256)
    found: dict[str, tuple[Result, Mapping[str, Any]]] = {}
    troubles: dict[str, Trouble] = {}
    for analysis in work.analyses:
        try:
            found[analysis.name] = _run_analysis(analysis, objective, work, name)
        except NumericalError as error:
            troubles[analysis.name] = _trouble(error)
    return entry_of_results(name, found, policy.metrics, troubles)


def _trouble(error: NumericalError) -> Trouble:
    return Trouble(error.what, error.fix, "not finite")


def _discard_other_weights(output: Path, weights: str) -> None:
    """Removes an earlier check's results of other weights, so that they are not taken for results of these weights."""
    if not output.exists():
        return
    require_results_file(output)
    if any(
        not has_readable_attributes(group.attributes) or _weights(group) != weights
        for group in read_results(output).values()
    ):
        try:
            output.unlink()
        except OSError as error:
            raise OutputError(f"{output} cannot be replaced: {error.strerror}", fix="-o FILE or FOLDER/") from error


def _run_analysis(
    analysis: Analysis, objective: Objective, work: MeasurementSetup, name: str
) -> tuple[Result, Mapping[str, Any]]:
    with work.reporter(f"{analysis.name} {name}") as report:
        done = execute(
            analysis,
            objective,
            output=work.output,
            restart=work.restart,
            report=report,
            stop=work.stop,
            say=work.say,
            deliver=False,
        )
    if done.problem is not None:
        work.say(f"the results are not kept: {done.problem.what}")
    return done.result, done.attributes


def with_seed_offset(analysis: Analysis, step: int) -> Analysis:
    """The analysis with its seed raised by `step`; the analysis itself if it has no seed."""
    seed = getattr(analysis, "seed", None)
    moved: dict[str, Any] = {"seed": (seed or 0) + step}
    return analysis if seed is None else replace(analysis, **moved)


def read_entry(path: Path, policy: Policy) -> Entry:
    """The readings in a results file, under the name of the checkpoint that was measured; needs no torch.

    Raises OutputError if the file is damaged, or holds no result that this version knows.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for its writer
        raise OutputError(f"{path} is no regular file", fix="name a .landscape.h5 file")
    groups = {
        name: group
        for name, group in read_results(path).items()
        if name in RESULT_TYPES and has_readable_attributes(group.attributes)
    }
    chosen = {name: group for name, group in groups.items() if name in policy.analyses} or groups
    if not chosen:
        raise OutputError(f"{path} holds no result that this version knows", fix="measure again")
    if len({_weights(group) for group in chosen.values()}) > 1:
        raise OutputError(
            f"{path} holds results of different weights: {', '.join(chosen)}", fix="measure them again, all of one"
        )
    held = {name: (result_of(RESULT_TYPES[name], group), group.attributes) for name, group in chosen.items()}
    where = next(str(attributes.get("checkpoint", "")) for _, attributes in held.values())
    return entry_of_results(where or str(path), held, policy.metrics)


def _weights(group: StoredResult) -> str:
    """The hash of the weights that were measured, from the result's fingerprint."""
    return str(json.loads(str(group.attributes["fingerprint_parts"])).get("weights"))
