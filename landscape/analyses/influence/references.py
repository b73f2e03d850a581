"""The samples that `--query` and `--train` name: of the data, of a population, or other data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.choices import DATA
from landscape.errors import UsageError, listing, safe_excerpt
from landscape.evaluation.chosen_samples import on_chosen_samples
from landscape.evaluation.populations import populations, sample_digests

if TYPE_CHECKING:
    from landscape.analyses.influence.influence import Influence
    from landscape.objective import Objective

OWN = ("samples", DATA)  # names of the data themselves
PLACES = re.compile(r"(?P<name>.+?):(?P<places>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)")
UNNAMED = "query"  # the population under which other data are read


@dataclass(frozen=True)
class NamedSamples:
    """Samples by name: an objective over them, and the number of each in the data `name`.

    `is_own` says that they are samples of the measured data.
    """

    objective: Objective
    numbers: tuple[int, ...]
    name: str
    is_own: bool


def samples_by_name(analysis: Influence, objective: Objective, reference: str, flag: str) -> NamedSamples:
    """The samples that a reference names; raises UsageError, which names the flag, if there are none."""
    match = PLACES.fullmatch(reference)
    name, places = (match["name"], parse_places(match["places"], flag)) if match else (reference, None)
    whole = _whole(analysis, objective, name, flag)
    count = whole.batches.samples
    if places is None:
        return NamedSamples(whole, tuple(range(count)), name, name in OWN)
    if places[-1] >= count:
        raise UsageError(
            f"{flag} {safe_excerpt(reference)} names sample {places[-1]}, and {name} has {count}",
            fix=f"numbers from 0 to {count - 1}",
        )
    return NamedSamples(on_chosen_samples(whole, places), tuple(places), name, name in OWN)


def require_apart(members: NamedSamples, others: NamedSamples) -> None:
    """Raises UsageError if samples of both are the same: one cannot be trained on and not."""
    scored = set(sample_digests(members.objective))
    common = [str(place) for place, one in enumerate(sample_digests(others.objective)) if one in scored]
    if common:
        raise UsageError(
            f"of the samples that --non-members names these are among the training samples that are scored: "
            f"{listing(common)} (counted from 0)",
            fix="--non-members with samples that the net was not trained on, such as held-out",
        )


def parse_places(text: str, flag: str) -> list[int]:
    """Ascending numbers of samples from `0,5,10-19`, each once; raises UsageError for a range that falls.

    >>> parse_places("7,0,2-4,3", "--query")
    [0, 2, 3, 4, 7]
    """
    places: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        end = int(last or first)
        if end < int(first):
            raise UsageError(f"{flag} has the range {part}", fix=f"{last}-{first}")
        places.update(range(int(first), end + 1))
    return sorted(places)


def _whole(analysis: Influence, objective: Objective, name: str, flag: str) -> Objective:
    """All samples of the data, of a population, or of other data."""
    if name in OWN:
        return objective
    known = populations(objective, analysis.population)
    if name in known:
        return known[name]
    try:
        return populations(objective, (*analysis.population, f"{UNNAMED}={name}"))[UNNAMED]
    except UsageError as error:
        raise UsageError(f"{flag} {safe_excerpt(name)}: {error.what}", why=error.why, fix=_choices(known)) from error


def _choices(known: Sequence[str] | dict[str, Objective]) -> str:
    names = f"samples:0,5,7, one of the populations {listing(known)}" if known else "samples:0,5,7"
    return f"{names}, or data as for --data"


def digests(analysis: Influence, objective: Objective) -> dict[str, str]:
    """The beginnings of the hashes of other data than the measured ones that --query and such options name."""
    found = {}
    references = (("query", analysis.query), ("train", analysis.train), ("non-members", analysis.non_members))
    for flag, reference in references:
        if reference is not None:
            match = PLACES.fullmatch(reference)
            whole = _whole(analysis, objective, match["name"] if match else reference, f"--{flag}")
            if whole is not objective:
                found[f"{flag} data"] = whole.batches.sha256[:8]
    return found
