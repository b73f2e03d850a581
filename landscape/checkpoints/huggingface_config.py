"""The config.json of a Hugging Face directory: which model it describes, as data. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landscape.checkpoints import json_data
from landscape.checkpoints.formats.directories import CONFIG_FILE
from landscape.errors import CheckpointError, listing, safe_excerpt

AUTO_MODELS = {
    "ForCausalLM": ("AutoModelForCausalLM",),
    "LMHeadModel": ("AutoModelForCausalLM",),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "AutoModelForAudioClassification"),
    "ForImageClassification": ("AutoModelForImageClassification",),
    "ForMaskedLM": ("AutoModelForMaskedLM",),
    "ForTokenClassification": ("AutoModelForTokenClassification",),
    "ForConditionalGeneration": ("AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq"),
    "MTModel": ("AutoModelForSeq2SeqLM",),
    "ForAudioClassification": ("AutoModelForAudioClassification",),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "AutoModelForVisualQuestionAnswering"),
    "ForMultipleChoice": ("AutoModelForMultipleChoice",),
    "ForNextSentencePrediction": ("AutoModelForNextSentencePrediction",),
    "ForSemanticSegmentation": ("AutoModelForSemanticSegmentation",),
    "ForPreTraining": ("AutoModelForPreTraining",),
    "CLIPModel": ("AutoModelForZeroShotImageClassification",),
}  # transformers' builders by the ending of an architecture's name; the first that knows the family is taken
# Families whose models are built from the numbers in their configs alone. Configs of other families may name files to
# open or to fetch (a backbone, timm's checkpoint_path), which no list of forbidden keys can rule out
FAMILIES = {
    *"gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gptj codegen opt bloom mpt falcon xglm biogpt ctrl".split(),
    *"llama mistral mixtral ministral qwen2 qwen2_moe qwen3 qwen3_moe gemma gemma2 gemma3_text phi phi3 phimoe".split(),
    *"olmo olmo2 olmo3 olmoe stablelm starcoder2 cohere cohere2 granite granitemoe smollm3 persimmon nemotron".split(),
    *"helium glm glm4 exaone4 arcee apertus seed_oss hunyuan_v1_dense ernie4_5 mamba".split(),
    *"bert roberta xlm-roberta xlm-roberta-xl roberta-prelayernorm distilbert albert electra deberta".split(),
    *"deberta-v2 camembert mobilebert modernbert mpnet convbert roformer squeezebert ernie esm data2vec-text".split(),
    *"vit vit_msn deit beit swin swinv2 convnext convnextv2 resnet regnet dinov2 mobilenet_v1 mobilenet_v2".split(),
    *"mobilevit mobilevitv2 efficientnet levit pvt pvt_v2 cvt focalnet bit poolformer ijepa data2vec-vision".split(),
    *"t5 mt5 umt5 longt5 switch_transformers bart mbart marian pegasus blenderbot blenderbot-small m2m_100".split(),
    *"plbart led whisper speech_to_text wav2vec2 hubert wavlm unispeech audio-spectrogram-transformer".split(),
    *"segformer vit_mae videomae timesformer clip siglip vilt longformer big_bird fnet nystromformer funnel".split(),
}
HOSTILE = ("auto_map", "quantization_config", "transformers_weights", "configuration_files", "custom_pipelines")
IGNORED = ("_name_or_path", "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "dtype")
KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
# words in the names of settings that count repeated parts
REPEATED = tuple("layer depth expert block stage group attention_types networks".split())
OWN_MODEL = "build the model yourself: --model pkg.mod:factory"
MAX_CONFIG_SIZE = 1 << 22  # bytes: a list of labels may be long
MIN_REPEATED = 512  # layers that every model may have
MAX_LABELS = 10**5
MAX_CONFIG_DEPTH = 50  # levels of a config


def read_config(directory: Path) -> dict[str, Any]:
    """The checked settings of a directory; raises CheckpointError unless they plainly describe a known family."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory} has no {CONFIG_FILE}", fix="a directory written by save_pretrained")
    config = json_data.parse_json(path.read_bytes() if path.stat().st_size <= MAX_CONFIG_SIZE else None, path)
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is no table of settings", fix="download it again")
    for key, value in _entries(config):
        kernel = key in KERNELS and isinstance(value, str) and "/" in value
        if value is not None and (key in HOSTILE or kernel):
            raise CheckpointError(
                f"{path} asks for {key} = {safe_excerpt(value)}",
                why="that would run or fetch what is not in transformers itself, or change the weights",
                fix=f"if you trust it, {OWN_MODEL}",
            )
    if (directory / "adapter_config.json").exists():
        raise CheckpointError(
            f"{directory} holds a PEFT adapter beside its model",
            fix="merge it once: model.merge_and_unload().save_pretrained(DIR), then landscape eig DIR",
        )
    _require_architecture(path, config)
    return {key: value for key, value in config.items() if key not in IGNORED}


def architecture_name(directory: Path) -> str:
    """The architecture that the config names; raises CheckpointError as `read_config` does."""
    named: str = read_config(directory)["architectures"][0]
    return named


def require_plausible(directory: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Raises CheckpointError if the config asks for more layers than the checkpoint has tensors."""
    for key, value in _entries(config):
        too_many = _counts(value) and value > max(tensors, MIN_REPEATED)
        repeated = too_many and any(word in key for word in REPEATED)
        if repeated or (key == "num_labels" and _counts(value) and value > MAX_LABELS):
            raise CheckpointError(
                f"{directory / CONFIG_FILE} asks for {key} = {safe_excerpt(value)}, and there are {tensors} tensors",
                fix=OWN_MODEL,
            )


def _require_architecture(path: Path, config: Mapping[str, Any]) -> None:
    named, family = config.get("architectures"), config.get("model_type")
    if not (isinstance(named, list) and len(named) == 1 and isinstance(named[0], str) and named[0].isidentifier()):
        timm = config.get("architecture")
        if isinstance(timm, str) and timm.isidentifier():
            raise CheckpointError(
                f"{path} describes a model of timm: {timm}",
                fix=f"--model model.py:build, a function that returns timm.create_model({timm!r}, num_classes=...)",
            )
        raise CheckpointError(f"{path} names no architecture", fix=OWN_MODEL)
    if not named[0].endswith(tuple(AUTO_MODELS)):
        raise CheckpointError(
            f"{path} names the architecture {named[0]}, which has no loss that is known here",
            why=f"known are {listing(AUTO_MODELS, len(AUTO_MODELS))}",
            fix=OWN_MODEL,
        )
    if family not in FAMILIES:
        raise CheckpointError(
            f"{path} describes a model of the family {safe_excerpt(family)}, which is not among those known to be "
            "plain",
            why="other families' configs may open files or fetch what they name",
            fix=OWN_MODEL,
        )


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _entries(config: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every key with its value, in nested tables too; entries of a list come with the list's key."""
    if depth > MAX_CONFIG_DEPTH:
        return
    items = config.items() if isinstance(config, dict) else ((name, value) for value in config)
    for key, value in items:
        yield str(key), value
        if isinstance(value, dict | list):
            yield from _entries(value, str(key), depth + 1)
