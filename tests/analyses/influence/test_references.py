"""Names of samples: places in the data, populations, other data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape import Influence, Objective
from landscape.analyses.influence.references import digests, parse_places, samples_by_name
from landscape.errors import LandscapeError, UsageError


@pytest.mark.parametrize(
    ("text", "places"),
    [("0", [0]), ("7,0,2-4,3", [0, 2, 3, 4, 7]), ("5-5", [5])],
    ids=["one", "mixed", "range-of-one"],
)
def test_places_are_ascending_and_once(text: str, places: list[int]) -> None:
    assert parse_places(text, "--query") == places


def test_a_falling_range_is_refused() -> None:
    with pytest.raises(UsageError, match="--query has the range 5-3"):
        parse_places("5-3", "--query")


@pytest.mark.parametrize(
    ("reference", "numbers", "is_own"),
    [
        ("samples:3,1", (1, 3), True),
        ("data", tuple(range(16)), True),
        ("held-out", tuple(range(8)), False),
        ("held-out:2-3", (2, 3), False),
    ],
    ids=["places", "data", "population", "part"],
)
def test_samples_are_found_by_name(
    reference: str, numbers: tuple[int, ...], is_own: bool, fitted: Objective, classification: tuple[torch.Tensor, ...]
) -> None:
    found = samples_by_name(Influence(), fitted, reference, "--query")
    assert (found.numbers, found.is_own) == (numbers, is_own)
    inputs = torch.cat([batch.inputs for batch in found.objective.batches])
    whole = classification[0][:16] if is_own else classification[0][16:]
    assert torch.equal(inputs.float(), whole[list(numbers)])


def test_other_data_are_read_with_their_arguments(fitted: Objective, tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(
        "import torch\ndef make(n=4):\n    return torch.ones(n, 5), torch.zeros(n).long()\n"
    )
    analysis = Influence(query=f"{tmp_path}/more.py:make,n=3")
    found = samples_by_name(analysis, fitted, str(analysis.query), "--query")
    assert len(found.numbers) == 3
    assert not found.is_own
    assert len(digests(analysis, fitted)["query data"]) == 8
    assert not digests(Influence(query="samples:0"), fitted)


@pytest.mark.parametrize(
    ("reference", "words"),
    [("samples:16", "names sample 16, and samples has 16"), ("nothing", "there is no data called nothing")],
    ids=["beyond", "unknown"],
)
def test_what_does_not_exist_is_refused(reference: str, words: str, fitted: Objective) -> None:
    with pytest.raises(LandscapeError, match=words):
        samples_by_name(Influence(), fitted, reference, "--query")
