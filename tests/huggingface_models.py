"""Small models of several families, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_transformers
from safetensors.torch import save_file
from torch import Tensor

transformers = pytest.importorskip("transformers")


SIZES: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "hidden_size": 12}


TOKENS, CLASSES = 40, 3
TEXT = {"vocab_size": TOKENS, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


FAMILIES: dict[str, Any] = {
    "gpt2": lambda t: t.GPT2LMHeadModel(
        t.GPT2Config(vocab_size=TOKENS, n_positions=16, n_embd=12, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2)
    ),
    "llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SIZES, **TEXT, num_key_value_heads=1)),
    "olmo2": lambda t: t.Olmo2ForCausalLM(t.Olmo2Config(**SIZES, **TEXT)),
    "bert": lambda t: t.BertForSequenceClassification(t.BertConfig(**SIZES, **TEXT, num_labels=CLASSES)),
    "vit": lambda t: t.ViTForImageClassification(
        t.ViTConfig(**SIZES, image_size=8, patch_size=4, num_channels=1, num_labels=CLASSES)
    ),
}


CAUSAL = ["gpt2", "llama", "olmo2"]


def saved(name: str, folder: Path) -> tuple[Path, Any]:
    """A model's directory, and the model in memory."""
    torch.manual_seed(0)
    with quiet_transformers():
        model = FAMILIES[name](transformers).eval()
        model.save_pretrained(folder / name)
    return folder / name, model


def batch(name: str) -> dict[str, Tensor]:
    """Seven samples; texts end at different places, and what follows is padding without a label."""
    generator = torch.Generator().manual_seed(1)
    classes = torch.randint(0, CLASSES, (7,), generator=generator)
    if name == "vit":
        return {"pixel_values": torch.randn(7, 1, 8, 8, generator=generator), "labels": classes}
    tokens = torch.randint(3, TOKENS, (7, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor([9, 9, 5, 7, 9, 3, 8])[:, None]).long()
    labels = tokens.masked_fill(mask == 0, -100) if name in CAUSAL else classes
    return {"input_ids": tokens * mask, "attention_mask": mask, "labels": labels}


def file_of(batch: dict[str, Tensor], folder: Path) -> str:
    save_file(batch, folder / "batch.safetensors")
    return str(folder / "batch.safetensors")
