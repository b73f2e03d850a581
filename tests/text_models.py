"""A tiny tokenizer of words, and a GPT-2 that takes its tokens, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_transformers

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = "the cat sat on a mat and dog ran to hill".split()
TEXT = "the cat sat on a mat\nand the dog ran to a hill\n\nthe mat and the hill\na dog sat\n"
POSITIONS = 16


def tokenizer() -> Any:
    """Words and line ends, with a token for the beginning of each document."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", "<s>", *WORDS])}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return own


def saved_model(folder: Path, **config: Any) -> tuple[Path, Any]:
    """A model's directory with a tokenizer, and the model in memory."""
    torch.manual_seed(0)
    settings = {"vocab_size": len(WORDS) + 3, "n_positions": POSITIONS, "n_embd": 8, "n_layer": 1, "n_head": 2}
    with quiet_transformers():
        own = transformers.GPT2Config(**{**settings, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 2, **config})
        model = transformers.GPT2LMHeadModel(own).eval()
        model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder, model
