"""Models that compute their own loss are given its labels; the data of every other model stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import quiet_transformers
from huggingface_families import (
    FAMILIES,
    SEQ2SEQ,
    SIZES,
    SPEECH,
    TEXT,
    build,
    choices,
    image_and_text,
    text_class,
    token_class,
    translation,
)
from torch import Tensor, nn

import landscape
from landscape.errors import TaskError
from landscape.losses.huggingface import LogitsLoss, OwnMeanLoss
from landscape.losses.own_arguments import with_own_arguments

transformers = pytest.importorskip("transformers")


def own_value(model: Any, batch: dict[str, Any]) -> float:
    with quiet_transformers(), torch.no_grad():
        return float(model(**batch).loss)


@pytest.mark.parametrize("name", ["bert", "gpt2", "vit", "whisper_class", "multiple_choice"])
def test_models_whose_loss_follows_from_their_logits_get_nothing_more(name: str) -> None:
    data = FAMILIES[name].batch()
    assert with_own_arguments(build(FAMILIES[name]), None, data) is data


@pytest.mark.parametrize("loss", ["cross_entropy", lambda output, target: output.loss], ids=["named", "function"])
def test_another_loss_than_the_model_s_own_gets_nothing_more(loss: Any) -> None:
    data = translation()
    assert with_own_arguments(build(FAMILIES["t5"]), loss, data) is data


def test_a_module_that_is_none_of_transformers_gets_nothing_more() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            return x

    data = text_class()
    assert with_own_arguments(Own(), None, data) is data


@pytest.mark.parametrize("name", ["t5", "bart", "marian", "whisper"])
def test_sequences_are_scored_token_by_token_wherever_batches_end(name: str) -> None:
    model, data = build(FAMILIES[name]), FAMILIES[name].batch()
    parts = [{key: value[part] for key, value in data.items()} for part in (slice(0, 3), slice(3, 5))]
    whole, ragged = landscape.Objective(model, data), landscape.Objective(model, parts)
    assert isinstance(whole.loss, LogitsLoss)
    assert whole.count == ragged.count == int((data["labels"] != -100).sum())
    assert float(whole.value()) == pytest.approx(own_value(model, data), rel=1e-5)
    assert float(ragged.value()) == pytest.approx(float(whole.value()), rel=1e-5)


def test_given_decoder_inputs_are_kept() -> None:
    model, data = build(FAMILIES["bart"]), translation()
    data["decoder_input_ids"] = torch.randint(3, 40, data["labels"].shape, generator=torch.Generator().manual_seed(7))
    assert float(landscape.Objective(model, data).value()) == pytest.approx(own_value(model, data), rel=1e-5)


def test_a_classifier_of_two_sequences_reads_its_text_alone() -> None:
    torch.manual_seed(0)
    config = transformers.BartConfig(**SEQ2SEQ, num_labels=3)
    model, data = transformers.BartForSequenceClassification(config).eval(), text_class()
    data["input_ids"][:, -1] = 2  # each text ends once
    data["attention_mask"][:, -1] = 1
    assert with_own_arguments(model, None, data) is data
    assert float(landscape.Objective(model, data).value()) == pytest.approx(own_value(model, data), rel=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_two_sequences_without_labels_are_refused(name: str) -> None:
    data = {key: value for key, value in translation().items() if key != "labels"}
    with pytest.raises(TaskError, match=r"the batches have no labels\n.*a dictionary with labels"):
        landscape.Objective(build(FAMILIES[name]), data)


def test_tokens_that_are_scored_by_themselves_are_so() -> None:
    torch.manual_seed(0)
    config = transformers.XLNetConfig(vocab_size=40, d_model=12, n_layer=1, n_head=2, d_inner=24)
    model, data = transformers.XLNetLMHeadModel(config).eval(), FAMILIES["gpt2"].batch()
    assert float(landscape.Objective(model, data).value()) == pytest.approx(own_value(model, data), rel=1e-5)


@pytest.mark.parametrize(
    ("task", "batch"),
    [("SequenceClassification", text_class), ("TokenClassification", token_class), ("MultipleChoice", choices)],
    ids=["sequence", "token", "choice"],
)
def test_outputs_of_a_family_s_own_class_are_scored_by_their_task(task: str, batch: Any) -> None:
    torch.manual_seed(0)
    config = transformers.XLNetConfig(vocab_size=40, d_model=12, n_layer=1, n_head=2, d_inner=24, num_labels=3)
    model, data = getattr(transformers, f"XLNetFor{task}")(config).eval(), batch()
    objective = landscape.Objective(model, data)
    assert isinstance(objective.loss, LogitsLoss)
    assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)


def test_a_model_of_several_tokens_ahead_is_measured_by_its_own_loss() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "decoder_ffn_dim": 24, "num_decoder_layers": 1, "num_decoder_attention_heads": 2}
    config = transformers.ProphetNetConfig(**sizes, **TEXT, is_decoder=True, is_encoder_decoder=False)
    model, data = transformers.ProphetNetForCausalLM(config).eval(), FAMILIES["gpt2"].batch()
    objective = landscape.Objective(model, data)
    assert isinstance(objective.loss, OwnMeanLoss)
    assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)


@pytest.mark.parametrize(
    ("problem", "labels", "loss"),
    [
        ("regression", torch.randn(5, 3, generator=torch.Generator().manual_seed(7)), "mse"),
        ("regression", torch.rand(5, 3, generator=torch.Generator().manual_seed(7)), "mse"),
        ("multi_label_classification", torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]]), "bce"),
    ],
    ids=["real", "between 0 and 1", "one label"],
)
@pytest.mark.parametrize("sizes", [[5], [3, 2]], ids=str)
def test_the_configuration_says_what_the_labels_of_samples_are(
    problem: str, labels: Tensor, loss: str, sizes: list[int]
) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, **TEXT, num_labels=labels.shape[1], problem_type=problem)
    model, data = transformers.BertForSequenceClassification(config).eval(), {**text_class(), "labels": labels}
    columns = {name: value.split(sizes) for name, value in data.items()}
    parts = [dict(zip(columns, part, strict=True)) for part in zip(*columns.values(), strict=True)]
    objective = landscape.Objective(model, parts)
    assert isinstance(objective.loss, LogitsLoss)
    assert objective.loss.inner.name == loss
    assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)


class TestTheModelsOwnMean:
    def test_a_sum_that_the_model_computes_is_divided_by_the_samples(self) -> None:
        torch.manual_seed(0)
        model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**{**SPEECH, "pad_token_id": 0})).eval()
        generator = torch.Generator().manual_seed(0)
        sounds, texts = torch.randn(5, 160, generator=generator), torch.randint(1, 40, (5, 3), generator=generator)
        data = {"input_values": sounds, "labels": texts}
        assert model.config.ctc_loss_reduction == "sum"
        summed = landscape.Objective(model, data)
        assert float(summed.value()) == pytest.approx(own_value(model, data) / 5, rel=1e-5)
        assert any("the sum that the model computes, divided by" in note for note in summed.notes)

    def test_a_small_loss_beside_that_of_the_logits_is_seen_and_the_remedy_works(self) -> None:
        torch.manual_seed(0)
        experts = {"num_key_value_heads": 1, "num_local_experts": 3, "output_router_logits": True}
        model = transformers.MixtralForCausalLM(transformers.MixtralConfig(**SIZES, **TEXT, **experts)).eval()
        data = FAMILIES["mixtral"].batch()
        with pytest.raises(TaskError, match=r"own loss is 3.67.*\n.*\n.*--objective.*return n \* model\(\*\*batch\)"):
            landscape.Objective(model, data)

        def function(model: Any, batch: Any) -> Any:
            n = len(batch["labels"])
            return n * model(**batch).loss, n

        objective = landscape.Objective(model, data, objective=function)
        assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)

    def test_a_loss_over_pairs_is_that_of_the_batches_as_given(self) -> None:
        model, data = build(FAMILIES["clip"]), image_and_text()
        parts = [{key: value[part] for key, value in data.items()} for part in (slice(0, 3), slice(3, 5))]
        whole, ragged = landscape.Objective(model, data), landscape.Objective(model, parts)
        means = [own_value(model, {**part, "return_loss": True}) for part in parts]
        assert isinstance(whole.loss, OwnMeanLoss)
        assert whole.as_given
        assert ragged.as_given
        assert float(whole.value()) == pytest.approx(own_value(model, {**data, "return_loss": True}), rel=1e-5)
        assert float(ragged.value()) == pytest.approx((3 * means[0] + 2 * means[1]) / 5, rel=1e-5)
        assert any("the mean that the model computes over a batch" in note for note in whole.notes)

    def test_a_loss_that_is_none_of_the_known_ones_is_the_model_s_own(self) -> None:
        """ViLT scores answers by bce times their number."""
        model, data = build(FAMILIES["vilt"]), FAMILIES["vilt"].batch()
        objective = landscape.Objective(model, data)
        assert isinstance(objective.loss, OwnMeanLoss)
        torch.manual_seed(0)
        assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)

    def test_two_losses_of_one_model_are_added_as_the_model_does(self) -> None:
        torch.manual_seed(0)
        config = transformers.BertConfig(**SIZES, **TEXT)
        model, data = transformers.BertForPreTraining(config).eval(), FAMILIES["roberta"].batch()
        data["next_sentence_label"] = torch.tensor([0, 1, 1, 0, 1])
        objective = landscape.Objective(model, data)
        assert isinstance(objective.loss, OwnMeanLoss)
        assert float(objective.value()) == pytest.approx(own_value(model, data), rel=1e-5)
