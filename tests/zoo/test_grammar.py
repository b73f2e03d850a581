"""Text of the grammar and random strings: ids with the next ids as targets, the same on each call."""

from __future__ import annotations

import pytest
import torch

from landscape.zoo.grammar import ALPHABET, LETTERS, character_ids, grammar, sequences


def text(row: torch.Tensor) -> str:
    return "".join(ALPHABET[index] for index in row.tolist())


@pytest.mark.parametrize("split", ["train", "held-out", "canaries", "never-seen"])
def test_targets_are_the_next_characters(split: str) -> None:
    (inputs, targets), *_ = grammar(split, count=3, length=20)
    assert inputs.shape == targets.shape == (3, 20)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_text_consists_of_the_grammar_s_sentences() -> None:
    written = text(sequences("train", 5, 63).flatten())
    first, *others = written.split(". ")
    assert first.startswith("the ")
    assert all(sentence.startswith("the ") for sentence in others[:-1])


def test_strings_are_uniform_letters() -> None:
    ids = sequences("canaries", 400, 25)
    counts = torch.bincount(ids.flatten(), minlength=LETTERS).double()
    expected = ids.numel() / LETTERS
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert len(counts) == LETTERS
    assert statistic < 52.6  # the 0.999 quantile of chi squared with 25 degrees of freedom


def test_the_sets_are_fixed_and_differ() -> None:
    assert torch.equal(sequences("canaries", 8, 30), sequences("canaries", 8, 30))
    assert not torch.equal(sequences("canaries", 8, 30), sequences("never-seen", 8, 30))


def test_ids_are_the_places_in_the_alphabet() -> None:
    assert text(character_ids("the fox.")) == "the fox."


def test_more_text_than_any_sample_needs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"characters are more than 4,194,304"):
        grammar(count=1 << 20)
