"""Tiny models of transformers, built from a configuration, with their own loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strangers.stranger import Problem, bring, integers


def own(model: nn.Module, ids: Tensor, sizes: tuple[int, ...] = (4, 4, 2), **more: Tensor) -> Problem:
    """The model's own loss of its inputs as labels."""
    model.eval()
    parts = zip(*(tensor.split(list(sizes)) for tensor in (ids, *more.values())), strict=True)
    return model, [dict(zip(("input_ids", *more), part, strict=True)) for part in parts], None


def logits_terms(shift: bool) -> Any:
    """Cross-entropy of the logits with the labels, by the next token with `shift`."""

    def terms(output: Any, target: Tensor) -> tuple[Tensor, float]:
        logits, labels = output.logits, target
        if shift:
            logits, labels = logits[:, :-1], labels[:, 1:]
        logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
        return nn.functional.cross_entropy(logits, labels, reduction="sum"), float((labels != -100).sum())

    return terms


@bring("GPT-2", "language models of transformers", terms=logits_terms(shift=True))
def _() -> Problem:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=6,
        n_positions=5,
        n_embd=4,
        n_layer=1,
        n_head=1,
        n_inner=2,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    ids = integers(6, 10, 5)
    return own(GPT2LMHeadModel(config), ids, labels=ids)


@bring("BERT classifier", "classifiers of transformers, with padding", terms=logits_terms(shift=False))
def _() -> Problem:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=6,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=2,
        max_position_embeddings=5,
        num_labels=3,
        initializer_range=0.5,
    )
    mask = (torch.arange(5) < 2 + integers(4, 10, seed=4)[:, None]).long()
    return own(BertForSequenceClassification(config), integers(6, 10, 5), attention_mask=mask, labels=integers(3, 10))


@bring("OPT with layer drop", "layer drop that eval mode switches off", terms=logits_terms(shift=True))
def _() -> Problem:
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(2)
    config = OPTConfig(
        vocab_size=6,
        hidden_size=4,
        ffn_dim=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        word_embed_proj_dim=4,
        max_position_embeddings=6,
        layerdrop=0.5,
        init_std=0.5,
        bos_token_id=2,
        eos_token_id=2,
        pad_token_id=1,
    )
    ids = integers(6, 10, 4)
    return own(OPTForCausalLM(config), ids, attention_mask=torch.ones_like(ids), labels=ids)
