"""Hashes of data: every word, number and tensor counts, wherever it is, and the batches do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from landscape.data.hashing import batch_digest, number_bytes, write_value
from landscape.data.items import as_batch
from landscape.data.survey import survey

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def digest(item: Any) -> str:
    return batch_digest(as_batch(item, as_item=True))


def digest_of_all(items: list[Any]) -> str:
    return survey(items, device=torch.device("cpu"), dtype=torch.float32, budget=1 << 20, as_items=True).sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": X, "kind": "a"}, {"x": X, "kind": "b"}),
        ({"x": X, "rate": 0.1}, {"x": X, "rate": 0.2}),
        ({"x": X, "names": list("abcdef")}, {"x": X, "names": list("abcdeg")}),
        ({"x": X, "names": np.array(list("abcdef"))}, {"x": X, "names": np.array(list("abcdeg"))}),
        (["a", "b"], ["a", "c"]),
        (["a", "bc"], ["ab", "c"]),
        ([X, X[:2]], [X, X[:3]]),
        ([X, X.view(9, 2)], [X, X.view(2, 9)]),
        ([X[:2], X[:3]], [X[:3], X[:2]]),
        (pack_sequence([X[:4], X[4:]]), pack_sequence([X[:3], X[3:]])),
        ({"x": X.to_sparse()}, {"x": (2 * X).to_sparse()}),
        ({"x": torch.complex(X, X)}, {"x": torch.complex(X, -X)}),
        (7, 8),
        (None, 8),
    ],
    ids="word number list array words borders rows shape order packed sparse complex integers none".split(),
)
def test_any_difference_changes_the_hash(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)
    assert digest(one) == digest(one)


def test_the_batches_do_not_matter_to_samples_with_words() -> None:
    rows = {"x": X, "names": list("abcdef"), "kind": "a"}
    parts = [{"x": X[at], "names": list("abcdef")[at], "kind": "a"} for at in (slice(0, 4), slice(4, 6))]
    assert digest_of_all([rows]) == digest_of_all(parts)
    assert digest_of_all([rows]) != digest_of_all([{**rows, "kind": "b"}])


def test_the_batches_matter_where_they_are_units() -> None:
    assert digest_of_all([[X, X[:2]], [X, X[:2]]]) != digest_of_all([[X, X[:2]]])


def test_an_object_without_tensors_counts_by_its_class() -> None:
    assert write_value(object()) == b"builtins.object;"
    assert digest([X, object()]) == digest([X, object()])


def test_the_bytes_are_those_of_the_numbers() -> None:
    assert bytes(number_bytes(X.T)) == X.T.contiguous().numpy().tobytes()
    assert bytes(number_bytes(torch.complex(X, X).conj())) == torch.complex(X, -X).numpy().tobytes()
