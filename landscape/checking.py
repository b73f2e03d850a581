"""Measures what a gate's policy asks for, and compares it: what `landscape check` and the pytest plugin share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape import store
from landscape.analyses import Analysis, Result
from landscape.errors import NumericalError, OutputError
from landscape.gates.entry import Entry, entry
from landscape.gates.metric import RESULTS
from landscape.gates.policy import Policy
from landscape.session import Report, Stop, execute, ignore, sound

if TYPE_CHECKING:
    from landscape.objective import Objective


OWN = ".check" + store.SUFFIX  # how the results end that a check leaves, so that they replace nobody's own


@dataclass(frozen=True)
class Work:
    """How a checkpoint is measured: by which analyses, where results go, and who is told."""

    analyses: Sequence[Analysis]
    output: Path | None = None
    restart: bool = False
    stop: Stop | None = None
    say: Callable[[str], None] = lambda line: None
    reporter: Callable[[str], AbstractContextManager[Report]] = field(default=lambda title: nullcontext(ignore))


def measure(name: str, load: Callable[[], Objective], policy: Policy, work: Work) -> Entry:
    """The readings of a checkpoint under that name; where numbers are not finite, they say so."""
    try:
        objective = load()
    except NumericalError as error:
        return entry(name, {}, policy.metrics, dict.fromkeys(policy.analyses, error.what))
    if work.output is not None and work.output.name.endswith(OWN):
        _forget(work.output, objective.source.sha256)
    found: dict[str, tuple[Result, Mapping[str, Any]]] = {}
    troubles: dict[str, str] = {}
    for analysis in work.analyses:
        try:
            found[analysis.name] = _executed(analysis, objective, work, name)
        except NumericalError as error:
            troubles[analysis.name] = error.what
    return entry(name, found, policy.metrics, troubles)


def _forget(output: Path, sha256: str) -> None:
    """Removes an earlier check's results of other weights, which must not be taken for those of these."""
    if not output.exists():
        return
    store.require_ours(output)
    if any(group.attributes.get("checkpoint_sha256") != sha256 for group in store.read(output).values()):
        output.unlink()


def _executed(analysis: Analysis, objective: Objective, work: Work, name: str) -> tuple[Result, Mapping[str, Any]]:
    with work.reporter(f"{analysis.name} {name}") as report:
        done = execute(
            analysis, objective, output=work.output, restart=work.restart, report=report, stop=work.stop, say=work.say
        )
    if done.problem is not None:
        work.say(f"the results are not kept: {done.problem.what}")
    return done.result, done.attributes


def seeded(analysis: Analysis, step: int) -> Analysis:
    """The analysis with other random vectors, whose seed is so much larger; itself, if it has none."""
    seed = getattr(analysis, "seed", None)
    moved: dict[str, Any] = {"seed": (seed or 0) + step}
    return analysis if seed is None else replace(analysis, **moved)


def read(path: Path, policy: Policy) -> Entry:
    """The readings in a results file, under the name of the checkpoint that was measured; needs no torch.

    Raises OutputError if it is damaged or holds nothing that is known.
    """
    groups = {name: group for name, group in store.read(path).items() if name in RESULTS and sound(group.attributes)}
    if not groups:
        raise OutputError(f"{path} holds no result that this version knows", fix="measure again")
    chosen = {name: group for name, group in groups.items() if name in policy.analyses}
    if len({str(group.attributes.get("checkpoint_sha256")) for group in chosen.values()}) > 1:
        raise OutputError(
            f"{path} holds results of different checkpoints: {', '.join(chosen)}", fix="measure them again, all of one"
        )
    held = {name: (store.as_record(RESULTS[name], group), group.attributes) for name, group in groups.items()}
    where = next(str(attributes.get("checkpoint", "")) for _, attributes in held.values())
    return entry(where or str(path), held, policy.metrics)
