"""English-like text from a small grammar, with planted canary strings: data for the character model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.zoo.limits import MAX_CHARACTERS, require_at_most

ALPHABET = "abcdefghijklmnopqrstuvwxyz .,"
LETTERS = 26
NOUNS = "fox river stone teacher garden engine window letter forest captain mirror ladder market cloud".split()
ADJECTIVES = "quick silent golden heavy broken distant gentle narrow ancient bright hollow patient".split()
VERBS = "follows watches repairs carries remembers paints questions hides measures answers".split()
PLACES = "near under behind beside beyond above against toward".split()

TRAINING = 4096  # sequences of the grammar in the training set
CANARIES = 32
SEEDS = {"train": 1, "held-out": 2, "canaries": 3, "never-seen": 4}


def sentence(random: np.random.RandomState) -> str:
    """One random sentence: two noun phrases, a verb, and sometimes a place."""

    def phrase() -> str:
        """A noun, sometimes with an adjective."""
        adjective = f"{random.choice(ADJECTIVES)} " if random.rand() < 0.6 else ""
        return f"the {adjective}{random.choice(NOUNS)}"

    words = f"{phrase()} {random.choice(VERBS)} {phrase()}"
    if random.rand() < 0.5:
        words += f", {random.choice(PLACES)} {phrase()}"
    return words + ". "


def character_ids(text: str) -> Tensor:
    """The ids `(len(text),)`, int64, of the characters of a text."""
    return torch.tensor([ALPHABET.index(character) for character in text])


def sequences(split: str, count: int, length: int) -> Tensor:
    """Ids `(count, length + 1)`: text of the grammar, or uniformly random letters for the two sets of strings."""
    random = np.random.RandomState(SEEDS[split])  # a frozen stream (NEP 19)
    if split in ("canaries", "never-seen"):
        return torch.from_numpy(random.randint(0, LETTERS, (count, length + 1)))
    pieces: list[str] = []
    size = 0
    while size < count * (length + 1):
        pieces.append(sentence(random))
        size += len(pieces[-1])
    return character_ids("".join(pieces)[: count * (length + 1)]).view(count, length + 1)


def grammar(
    split: str = "train", *, count: int | None = None, length: int = 64, batch_size: int = 64
) -> list[tuple[Tensor, Tensor]]:
    """Batches of ids `(n, length)` with the next ids as targets.

    `split` is `train` or `held-out` (text), `canaries` (32 random strings that the sample was trained on) or
    `never-seen` (random strings of the same distribution that it was not trained on).
    """
    strings = split in ("canaries", "never-seen")
    count = count or (CANARIES if strings else TRAINING)
    require_at_most(MAX_CHARACTERS, count * (length + 1), "characters")
    rows = sequences(split, count, length)
    return list(zip(torch.split(rows[:, :-1], batch_size), torch.split(rows[:, 1:], batch_size), strict=True))
