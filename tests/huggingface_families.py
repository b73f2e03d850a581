"""Forty and more families of Hugging Face's models, tiny, each with the batch that its model takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SAMPLES, LENGTH, TOKENS, CLASSES = 5, 9, 40, 3
LENGTHS = (9, 5, 7, 9, 4)  # of the texts; what follows is padding
SPECIAL: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "hidden_size": 12}
TEXT: dict[str, Any] = {"vocab_size": TOKENS, "max_position_embeddings": 16, **SPECIAL}
BERT = {**SIZES, **TEXT}
ONE_KEY = {"num_key_value_heads": 1}
IMAGE: dict[str, Any] = {"image_size": 8, "patch_size": 4, "num_channels": 1}
SEQ2SEQ: dict[str, Any] = {
    "d_model": 12, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "vocab_size": TOKENS, "max_position_embeddings": 16, **SPECIAL,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
SPEECH: dict[str, Any] = {
    **SIZES, "conv_dim": (8, 8), "conv_stride": (4, 2), "conv_kernel": (6, 3), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer",
    "do_stable_layer_norm": True, "classifier_proj_size": 8, "num_labels": CLASSES, "vocab_size": TOKENS,
    "mask_time_prob": 0.0, "apply_spec_augment": False,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A class of transformers with the settings of its configuration, and the kind of its batch."""

    model: str
    settings: dict[str, Any]
    batch: Callable[[], dict[str, Tensor]]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _tokens() -> dict[str, Tensor]:
    tokens = torch.randint(3, TOKENS, (SAMPLES, LENGTH), generator=_generator())
    mask = (torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_ids": tokens * mask, "attention_mask": mask}


def _classes(*shape: int, high: int = CLASSES) -> Tensor:
    return torch.randint(0, high, shape or (SAMPLES,), generator=torch.Generator().manual_seed(2))


def next_token() -> dict[str, Tensor]:
    """Texts whose padding is not scored."""
    inputs = _tokens()
    return {**inputs, "labels": inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)}


def masked_token() -> dict[str, Tensor]:
    """Texts of which every other token is scored."""
    inputs = _tokens()
    scored = (torch.arange(LENGTH) % 2 == 0) & (inputs["attention_mask"] == 1)
    return {**inputs, "labels": _classes(SAMPLES, LENGTH, high=TOKENS).masked_fill(~scored, -100)}


def text_class() -> dict[str, Tensor]:
    """Texts with a class each."""
    return {**_tokens(), "labels": _classes()}


def token_class() -> dict[str, Tensor]:
    """Texts with a class for each token."""
    inputs = _tokens()
    return {**inputs, "labels": _classes(SAMPLES, LENGTH).masked_fill(inputs["attention_mask"] == 0, -100)}


def answer() -> dict[str, Tensor]:
    """Texts with the places at which the answer begins and ends."""
    return {**_tokens(), "start_positions": _classes(), "end_positions": _classes() + 1}


def choices() -> dict[str, Tensor]:
    """Two texts to choose from."""
    pair = {name: torch.stack([value, value.flip(0)], dim=1) for name, value in _tokens().items()}
    return {**pair, "labels": _classes(high=2)}


def translation() -> dict[str, Tensor]:
    """Texts and what they are to become, of another length."""
    labels = torch.randint(3, TOKENS, (SAMPLES, 6), generator=torch.Generator().manual_seed(3))
    return {**_tokens(), "labels": labels.masked_fill(torch.arange(6) >= torch.tensor([6, 3, 5, 2, 6])[:, None], -100)}


def image_class(size: int = 8) -> dict[str, Tensor]:
    """Images with a class each."""
    return {"pixel_values": torch.randn(SAMPLES, 1, size, size, generator=_generator()), "labels": _classes()}


def larger_image_class() -> dict[str, Tensor]:
    """Images of 32 x 32 with a class each."""
    return image_class(32)


def segments() -> dict[str, Tensor]:
    """Images with a class for each pixel, some of them ignored."""
    labels = _classes(SAMPLES, 32, 32)
    labels[0, :3] = 255
    return {**image_class(32), "labels": labels}


def image_alone() -> dict[str, Tensor]:
    """Images without labels, with the noise that decides which patches are hidden."""
    pixels = image_class()["pixel_values"]
    return {"pixel_values": pixels, "noise": torch.rand(SAMPLES, 4, generator=torch.Generator().manual_seed(4))}


def speech_class() -> dict[str, Tensor]:
    """Sounds with a class each."""
    return {"input_values": torch.randn(SAMPLES, 80, generator=_generator()), "labels": _classes()}


def speech_text() -> dict[str, Tensor]:
    """Spectrograms with texts."""
    features = torch.randn(SAMPLES, 8, 20, generator=_generator())
    return {"input_features": features, "labels": translation()["labels"]}


def spectrogram_class() -> dict[str, Tensor]:
    """Spectrograms with a class each."""
    return {"input_features": torch.randn(SAMPLES, 8, 20, generator=_generator()), "labels": _classes()}


def image_and_text() -> dict[str, Tensor]:
    """Images with their texts."""
    return {**_tokens(), "pixel_values": image_class()["pixel_values"]}


def image_question() -> dict[str, Tensor]:
    """Images and questions, with a score for each answer."""
    pixels = image_class()["pixel_values"]
    return {**_tokens(), "pixel_values": pixels, "labels": torch.rand(SAMPLES, CLASSES, generator=_generator())}


FAMILIES: dict[str, Family] = {
    "bert": Family("BertForSequenceClassification", {**BERT, "num_labels": CLASSES}, text_class),
    "roberta": Family("RobertaForMaskedLM", BERT, masked_token),
    "distilbert": Family(
        "DistilBertForSequenceClassification",
        {**TEXT, "n_layers": 2, "n_heads": 2, "dim": 12, "hidden_dim": 24, "num_labels": CLASSES},
        text_class,
    ),
    "albert": Family("AlbertForMaskedLM", {**BERT, "embedding_size": 8}, masked_token),
    "electra": Family("ElectraForSequenceClassification", {**BERT, "embedding_size": 8, "num_labels": 3}, text_class),
    "deberta_v2": Family(
        "DebertaV2ForTokenClassification",
        {**BERT, "num_labels": CLASSES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        token_class,
    ),
    "modernbert": Family(
        "ModernBertForMaskedLM", {**BERT, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 4}, masked_token
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        {"vocab_size": TOKENS, "n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 2, **SPECIAL},
        next_token,
    ),
    "gpt_neox": Family("GPTNeoXForCausalLM", {**BERT, "rotary_pct": 0.5}, next_token),
    "gpt_neo": Family(
        "GPTNeoForCausalLM",
        {**TEXT, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
        next_token,
    ),
    "opt": Family(
        "OPTForCausalLM",
        {**TEXT, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 12, "ffn_dim": 24,
         "word_embed_proj_dim": 12},
        next_token,
    ),
    "bloom": Family("BloomForCausalLM", {**TEXT, "hidden_size": 12, "n_layer": 2, "n_head": 2}, next_token),
    "llama": Family("LlamaForCausalLM", {**BERT, **ONE_KEY}, next_token),
    "mistral": Family("MistralForCausalLM", {**BERT, **ONE_KEY, "sliding_window": 4}, next_token),
    "qwen2": Family("Qwen2ForCausalLM", {**BERT, **ONE_KEY}, next_token),
    "gemma2": Family("Gemma2ForCausalLM", {**BERT, **ONE_KEY, "head_dim": 6}, next_token),
    "phi": Family("PhiForCausalLM", {**BERT, "partial_rotary_factor": 0.67}, next_token),
    "falcon": Family(
        "FalconForCausalLM", {**TEXT, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}, next_token
    ),
    "mixtral": Family("MixtralForCausalLM", {**BERT, **ONE_KEY, "num_local_experts": 3}, next_token),
    "qwen2_moe": Family(
        "Qwen2MoeForCausalLM",
        {**BERT, **ONE_KEY, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
         "shared_expert_intermediate_size": 8},
        next_token,
    ),
    "mamba": Family(
        "MambaForCausalLM",
        {"vocab_size": TOKENS, "hidden_size": 12, "num_hidden_layers": 2, "state_size": 4, **SPECIAL},
        next_token,
    ),
    "t5": Family(
        "T5ForConditionalGeneration",
        {"vocab_size": TOKENS, "d_model": 12, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2,
         "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0},
        translation,
    ),
    "bart": Family("BartForConditionalGeneration", SEQ2SEQ, translation),
    "marian": Family("MarianMTModel", {**SEQ2SEQ, "forced_eos_token_id": 2}, translation),
    "pegasus": Family("PegasusForConditionalGeneration", SEQ2SEQ, translation),
    "whisper": Family(
        "WhisperForConditionalGeneration",
        {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 10, "max_target_positions": 16},
        speech_text,
    ),
    "whisper_class": Family(
        "WhisperForAudioClassification",
        {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 10, "num_labels": 3, "classifier_proj_size": 8},
        spectrogram_class,
    ),
    "vit": Family("ViTForImageClassification", {**SIZES, **IMAGE, "num_labels": CLASSES}, image_class),
    "deit": Family("DeiTForImageClassification", {**SIZES, **IMAGE, "num_labels": CLASSES}, image_class),
    "beit": Family(
        "BeitForImageClassification",
        {**SIZES, **IMAGE, "num_labels": CLASSES, "use_relative_position_bias": True, "layer_scale_init_value": 0.1},
        image_class,
    ),
    "dinov2": Family(
        "Dinov2ForImageClassification", {**SIZES, **IMAGE, "mlp_ratio": 2, "num_labels": CLASSES}, image_class
    ),
    "swin": Family(
        "SwinForImageClassification",
        {**IMAGE, "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
         "window_size": 4, "num_labels": CLASSES},
        larger_image_class,
    ),
    "convnext": Family(
        "ConvNextForImageClassification",
        {"num_channels": 1, "hidden_sizes": [4, 6], "depths": [1, 1], "num_stages": 2, "num_labels": CLASSES},
        larger_image_class,
    ),
    "resnet": Family(
        "ResNetForImageClassification",
        {"num_channels": 1, "embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "num_labels": CLASSES},
        larger_image_class,
    ),
    "segformer": Family(
        "SegformerForSemanticSegmentation",
        {"num_channels": 1, "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [4, 8],
         "patch_sizes": [3, 3], "strides": [2, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
         "decoder_hidden_size": 6, "num_labels": CLASSES},
        segments,
    ),
    "vit_mae": Family(
        "ViTMAEForPreTraining",
        {**SIZES, **IMAGE, "decoder_hidden_size": 8, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
         "decoder_intermediate_size": 12, "mask_ratio": 0.5},
        image_alone,
    ),
    "wav2vec2": Family("Wav2Vec2ForSequenceClassification", SPEECH, speech_class),
    "hubert": Family("HubertForSequenceClassification", SPEECH, speech_class),
    "clip": Family(
        "CLIPModel",
        {"text_config": {**BERT, "projection_dim": 6}, "vision_config": {**SIZES, **IMAGE, "projection_dim": 6},
         "projection_dim": 6},
        image_and_text,
    ),
    "vilt": Family("ViltForQuestionAnswering", {**BERT, **IMAGE, "num_labels": CLASSES}, image_question),
    "question_answering": Family("BertForQuestionAnswering", BERT, answer),
    "token_classification": Family("BertForTokenClassification", {**BERT, "num_labels": CLASSES}, token_class),
    "multiple_choice": Family("BertForMultipleChoice", BERT, choices),
}  # fmt: skip


def build(family: Family) -> Any:
    """The model with attention that has a second derivative, in eval mode."""
    import transformers

    torch.manual_seed(0)
    kind = getattr(transformers, family.model)
    config = kind.config_class(**family.settings)
    return kind._from_config(config, attn_implementation="eager", experts_implementation="eager").eval()


OVERFLOW_IN_FLOAT64 = {"mistral", "modernbert"}  # their masks are infinite in a softmax that is always float32
WEIGHT_NORM = {"wav2vec2", "hubert"}  # torch's own second derivative of it is wrong
