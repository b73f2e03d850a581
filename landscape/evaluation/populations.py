"""Populations: further samples that the same model is measured on (memorized, to be kept, or never seen)."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from landscape.choices import DATA, population_name
from landscape.data.batches import Batch
from landscape.data.freezing import freeze
from landscape.data.grouping import CLASS, Group, group_samples, has_column
from landscape.data.hashing import batch_digest
from landscape.errors import LandscapeError, LostRankError, TaskError, UsageError, suggest
from landscape.objective import Objective
from landscape.tasks.factories import data_factory
from landscape.tasks.texts import text_settings

POPULATION = "population"  # for `by`: a column of that name, or else the populations that are named anyway
# Each objective's populations by name and specification, so that their data are read once
_POPULATIONS: WeakKeyDictionary[Objective, dict[tuple[str, str], Objective]] = WeakKeyDictionary()


def populations(
    objective: Objective, specifications: Sequence[str] = (), by: str | None = None
) -> dict[str, Objective]:
    """The objective over each population: those that the checkpoint describes, and `NAME=DATA[,KEY=VALUE...]`.

    With `by` the objective's own samples are further ones, by their class or by a column. Raises UsageError for a
    specification of another form and for samples without that column, and TaskError, with the population's name, if its
    data cannot be measured.
    """
    specified = dict[str, str]()
    sources: dict[str, Any] = {population_name(name): source for name, source in objective.populations.items()}
    if len(sources) < len(objective.populations):
        raise TaskError(
            f"two populations have the same name: {', '.join(objective.populations)}",
            fix="give one of them another name",
        )
    if DATA in sources:
        raise TaskError(f"a population is called {DATA}, as the measured data are", fix="give it another name")
    for specification in specifications:
        name, equals, data = specification.partition("=")
        name = population_name(name)
        if not (name and equals and data) or name == DATA:
            fix = "--population memorized=data.py:canaries"
            raise UsageError(f"--population {specification!r} is not NAME=DATA", fix=fix)
        sources[name], specified[name] = _factory(objective, data), specification
    measured = {
        name: _population_once(objective, name, source, specified.get(name, "")) for name, source in sources.items()
    }
    return measured | (samples_by_column(objective, by, sources) if by is not None else {})


def samples_by_column(objective: Objective, by: str, others: Container[str] = ()) -> dict[str, Objective]:
    """The objective over its own samples by their class or a column; none for populations that `others` names already.

    Raises UsageError for samples without that column, and for a name that another population has.
    """
    groups = _groups(objective, by, others)
    return {name: _population_once(objective, name, group, f"by {by}") for name, group in groups.items()}


def on_named_data(objective: Objective, data: str, name: str) -> Objective:
    """The objective over the data `DATA[,KEY=VALUE...]`, called `name` in messages; raises as `populations`."""
    return _population_once(objective, name, _factory(objective, data), data)


def population(every: dict[str, Objective], objective: Objective, name: str, flag: str) -> Objective:
    """The population of that name, or the data itself; UsageError, which names the flag, if there is none."""
    name = population_name(name)
    if name == DATA:
        return objective
    if name not in every:
        raise UsageError(
            f"there is no population {suggest(name, every)} for {flag}",
            fix=f"one of {', '.join([DATA, *every])}, or --population {name}=DATA",
        )
    return every[name]


def sample_digests(objective: Objective, *, targets: bool = True) -> list[str]:
    """A hash of each sample's inputs, and with `targets` of its targets too."""
    samples = single_samples(objective)
    return [batch_digest(one if targets else replace(one, targets=one.inputs)) for one in samples]


def single_samples(objective: Objective) -> Iterator[Batch]:
    """Each sample as a batch of its own."""
    for batch in objective.batches:
        yield from batch.split(1)


def _population_once(objective: Objective, name: str, source: object, specification: str) -> Objective:
    """The objective over a population, whose data are read once for each specification."""
    known = _POPULATIONS.setdefault(objective, {})
    if (name, specification) not in known:
        known[name, specification] = _population(objective, name, source)
    return known[name, specification]


def _factory(objective: Objective, data: str) -> Callable[[], Any]:
    """A call that makes the data `DATA[,KEY=VALUE...]`."""
    reference, *pairs = data.split(",")
    conditions = objective.source.conditions
    trusted = tuple(conditions.get("trusted_modules") or ())
    texts = text_settings(conditions, objective.source.path)
    return data_factory(reference, tuple(pairs), trusted, texts)


def _groups(objective: Objective, by: str, others: Container[str]) -> dict[str, Group]:
    """The samples of the data by their class or column; none if populations are named already."""
    if by == POPULATION and others and not has_column(objective.batches, by):
        return {}
    found = group_samples(objective.batches, by)
    if by == CLASS:  # targets that the loss ignores are no class
        found = {name: group for name, group in found.items() if not _is_ignored(objective, group)}
    groups = {population_name(name): group for name, group in found.items()}
    taken = [name for name in groups if name in others or name == DATA]
    if taken:
        raise UsageError(
            f"--by {by} has a value called {taken[0]}, as another population is", fix="give one of them another name"
        )
    return groups


def _is_ignored(objective: Objective, group: Group) -> bool:
    """Whether the targets of a group are those that the loss leaves out; another loss counts the same number."""
    if group.value != objective.loss.structure.ignore_index:
        return False
    return not any(objective.batch_count(batch) for batch in group)


def _population(objective: Objective, name: str, source: object) -> Objective:
    try:
        if isinstance(source, Group):
            population = objective.with_samples(source)
        else:
            population = objective.with_data(_data_of(objective, source))
        population.first(1).value()  # a sample of another shape fails here, where its population can be named
        return population
    except LostRankError:
        raise
    except LandscapeError as error:
        raise TaskError(f"population {name}: {error.what}", why=error.why, fix=error.fix) from error


def _data_of(objective: Objective, source: object) -> Any:
    """The data of a population, frozen as the measured data are."""
    passes = objective.source.conditions.get("freeze_data")
    if passes is None:
        return source() if callable(source) and not isinstance(source, Iterable) else source
    path = objective.source.path
    return freeze(source, passes, folder=None if path is None else path.parent)
