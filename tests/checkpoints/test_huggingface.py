"""Hugging Face directories give the numbers of the same model in memory, and of a loss written by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quiet_transformers
from huggingface_models import CAUSAL, CLASSES, FAMILIES, SIZES, TEXT, TOKENS, batch, file_of, saved
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Eig
from landscape.errors import CheckpointError, LandscapeError, TaskError
from landscape.losses.huggingface import LogitsLoss

transformers = pytest.importorskip("transformers")


def eigenvalues(objective: landscape.Objective) -> np.ndarray:
    values: np.ndarray = landscape.run(Eig(k=3, tol=1e-6), objective).eigenvalues
    return values


@pytest.mark.parametrize("name", FAMILIES)
class TestEveryFamily:
    def test_the_directory_gives_what_the_model_in_memory_gives(self, name: str, tmp_path: Path) -> None:
        path, model = saved(name, tmp_path)
        there = landscape.load(path, data=file_of(batch(name), tmp_path), dtype="float64")
        here = landscape.Objective(model, batch(name), "hf", dtype="float64")
        assert there.source.resolved_from["model"] == f"{type(model).__name__}, from the checkpoint itself"
        np.testing.assert_allclose(eigenvalues(there), eigenvalues(here), rtol=1e-6)

    def test_the_loss_is_the_model_s_own(self, name: str, tmp_path: Path) -> None:
        _, model = saved(name, tmp_path)
        with quiet_transformers(), torch.no_grad():
            own = float(model(**batch(name)).loss)
        objective = landscape.Objective(model, batch(name))
        assert isinstance(objective.loss, LogitsLoss)
        assert float(objective.value()) == pytest.approx(own, rel=1e-5)
        assert objective.count == {True: 43, False: 7}[name in CAUSAL]  # scored tokens: each text's, less its first

    def test_measuring_leaves_the_model_as_it_was(self, name: str, tmp_path: Path) -> None:
        _, model = saved(name, tmp_path)
        before = json.dumps(model.config.to_dict(), sort_keys=True, default=str)
        landscape.Objective(model, batch(name))
        assert json.dumps(model.config.to_dict(), sort_keys=True, default=str) == before


class ByHand(nn.Module):
    """The mean over scored tokens, as one would write it: token t + 1 from the logits at t."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=tokens, attention_mask=mask).logits
        return logits


@pytest.mark.parametrize("name", CAUSAL)
class TestLanguageModels:
    def test_eigenvalues_are_those_of_a_loss_written_by_hand(self, name: str, tmp_path: Path) -> None:
        path, model = saved(name, tmp_path)
        data = batch(name)
        scored = [(row, t) for row in range(7) for t in range(8) if data["labels"][row, t + 1] != -100]

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            terms = [-functional.log_softmax(logits[r, t], -1)[labels[r, t + 1]] for r, t in scored]
            return torch.stack(terms).sum() / len(terms)

        pair = ((data["input_ids"], data["attention_mask"]), data["labels"])
        whole = landscape.Objective(ByHand(model), [pair], Summed(loss, len(scored)), dtype="float64")
        there = landscape.load(path, data=file_of(data, tmp_path), dtype="float64")
        np.testing.assert_allclose(eigenvalues(there), eigenvalues(whole), rtol=1e-6)

    def test_padding_changes_nothing(self, name: str, tmp_path: Path) -> None:
        """Each text alone and unpadded, against all of them in one padded batch."""
        _, model = saved(name, tmp_path)
        data = batch(name)
        lengths = data["attention_mask"].sum(1).tolist()
        alone = [{key: value[i : i + 1, :n] for key, value in data.items()} for i, n in enumerate(lengths)]
        padded = landscape.Objective(model, data, dtype="float64")
        apart = landscape.Objective(model, Ragged(alone), dtype="float64")
        assert padded.count == apart.count
        np.testing.assert_allclose(eigenvalues(padded), eigenvalues(apart), rtol=1e-5)

    def test_without_labels_the_tokens_are_scored_that_are_not_padding(self, name: str, tmp_path: Path) -> None:
        _, model = saved(name, tmp_path)
        data = batch(name)
        unlabelled = {key: value for key, value in data.items() if key != "labels"}
        given, found = (landscape.Objective(model, one, dtype="float64") for one in (data, unlabelled))
        assert float(given.value()) == float(found.value())
        assert given.count == found.count

    def test_micro_batches_change_nothing(self, name: str, tmp_path: Path) -> None:
        _, model = saved(name, tmp_path)
        whole, cut = (landscape.Objective(model, batch(name), dtype="float64", micro_batch=size) for size in (7, 2))
        torch.testing.assert_close(whole.gradient(), cut.gradient(), rtol=1e-6, atol=1e-9)

    def test_gauss_newton_and_fisher_take_the_logits(self, name: str, tmp_path: Path) -> None:
        """The drawn Fisher's mean is the Gauss-Newton matrix for cross-entropy."""
        from landscape.operators import operator

        _, model = saved(name, tmp_path)
        last = "lm_head.weight" if name != "gpt2" else "transformer.ln_f.*"
        objective = landscape.Objective(model, batch(name), dtype="float64", params=(last,))
        direction = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64)[:, None]
        newton = float((direction.T @ operator("ggn", objective).matmat(direction)).item())
        draws = operator("fisher", objective, labels=200).matmat(direction)
        assert float((direction.T @ draws).item()) == pytest.approx(newton, rel=0.1)


class Summed:
    """A mean of one batch as a sum with its count."""

    name = "by hand"

    def __init__(self, mean: Any, terms: int) -> None:
        self.mean, self.terms = mean, terms

    def total(self, output: Tensor, target: Tensor) -> Tensor:
        return self.mean(output, target) * self.terms  # type: ignore[no-any-return]

    def count(self, target: Tensor) -> int:
        return self.terms


class Ragged(list[Any]):
    """Batches of different lengths."""


@pytest.mark.parametrize("columns", [1, 4], ids=["regression", "several labels"])
def test_real_labels_are_regressed_or_classified_as_transformers_does(columns: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with quiet_transformers():
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(**SIZES, **TEXT, num_labels=columns)
        ).eval()
    data = batch("bert")
    data["labels"] = torch.rand(7) if columns == 1 else torch.randint(0, 2, (7, columns)).float()
    objective = landscape.Objective(model, data)
    with quiet_transformers(), torch.no_grad():
        own = float(model(**data).loss)
    assert float(objective.value()) == pytest.approx(own, rel=1e-5)


def test_a_model_whose_loss_is_another_one_is_refused() -> None:
    torch.manual_seed(0)

    class Doubled(transformers.BertForSequenceClassification):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None) -> Any:
            output = super().forward(input_ids, attention_mask, labels=labels)
            output.loss = None if labels is None else 2 * output.loss
            return output

    with quiet_transformers():
        model = Doubled(transformers.BertConfig(**SIZES, **TEXT, num_labels=4)).eval()
    data = {**batch("bert"), "labels": torch.rand(7, 4)}
    with pytest.raises(TaskError, match=r"the model's own loss is .* not .*\n.*no bce.*\n.*--loss pkg.mod:function"):
        landscape.Objective(model, data)


def test_weights_from_a_training_loop_go_into_the_model_of_a_directory(tmp_path: Path) -> None:
    path, model = saved("gpt2", tmp_path)
    torch.save({"model": {f"module.{name}": t for name, t in model.state_dict().items()}}, tmp_path / "step.pt")
    data = file_of(batch("gpt2"), tmp_path)
    there = landscape.load(tmp_path / "step.pt", model=f"hf:{path}", data=data)
    assert float(there.value()) == float(landscape.load(path, data=data).value())


def test_a_directory_may_be_measured_with_a_model_of_one_s_own(tmp_path: Path) -> None:
    """Its weights are then read as data; tied ones come under one of their names."""
    path, _ = saved("gpt2", tmp_path)
    (tmp_path / "own.py").write_text(
        f"import transformers\ndef build():\n    c = transformers.AutoConfig.from_pretrained({str(path)!r})\n"
        "    return transformers.AutoModelForCausalLM.from_config(c)"
    )
    data = file_of(batch("gpt2"), tmp_path)
    own = landscape.load(path, model=f"{tmp_path}/own.py:build", data=data)
    assert float(own.value()) == pytest.approx(float(landscape.load(path, data=data).value()), rel=1e-6)


def test_narrow_weights_are_upcast_and_that_is_said(tmp_path: Path) -> None:
    path, model = saved("llama", tmp_path)
    with quiet_transformers():
        model.bfloat16().save_pretrained(path)
    objective = landscape.load(path, data=file_of(batch("llama"), tmp_path))
    assert objective.theta.dtype == torch.float32
    assert "bfloat16 weights are computed in float32" in objective.notes
    assert {p.dtype for p in objective.model.parameters()} == {torch.float32}, "its tables are not rounded either"


def test_without_transformers_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path, _ = saved("gpt2", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TaskError, match=r"needs transformers, which is not installed\n.*\[hf\]"):
        landscape.load(path, data=file_of(batch("gpt2"), tmp_path))


def test_a_broken_library_beneath_transformers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def fail(*arguments: object, **named: object) -> None:
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as error:
            raise ModuleNotFoundError(
                "Could not import module 'GPT2LMHeadModel'. Are its requirements defined?"
            ) from error

    path, _ = saved("gpt2", tmp_path)
    monkeypatch.setattr(transformers.GPT2LMHeadModel, "__init__", fail)
    with pytest.raises(CheckpointError) as caught:
        landscape.load(path, data=file_of(batch("gpt2"), tmp_path))
    assert "cannot be imported: RuntimeError: operator torchvision::nms does not exist" in caught.value.what
    assert "install a torchvision that fits this torch" in caught.value.fix
    assert "update transformers" not in caught.value.fix


def test_the_hub_is_off_while_a_model_is_built_and_on_again_afterwards() -> None:
    from huggingface_hub import constants

    from landscape.checkpoints.huggingface import _offline

    before = constants.HF_HUB_OFFLINE
    with _offline():
        assert constants.HF_HUB_OFFLINE
        with pytest.raises(Exception, match="offline|not a local|cached"):
            transformers.AutoConfig.from_pretrained("gpt2-nosuch")
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gpt_neo", {"attention_types": [[["global", "local"], 60_000_000]]}),
        ("albert", {"inner_group_num": 300_000}),
        ("albert", {"num_hidden_groups": 300_000}),
        ("resnet", {"depths": [512] * 200, "hidden_sizes": [8] * 200}),
        ("efficientnet", {"depth_coefficient": 3000.5}),
    ],
    ids=["attention_types", "inner_group_num", "num_hidden_groups", "depths", "depth_coefficient"],
)
def test_a_config_without_end_is_stopped(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    endings = {"gpt_neo": "GPTNeoForCausalLM", "albert": "AlbertForMaskedLM"}
    image = {"resnet": "ResNetForImageClassification", "efficientnet": "EfficientNetForImageClassification"}
    config = {"architectures": [(endings | image)[name]], "model_type": name, **change}
    save_file({f"t{place}": torch.ones(2) for place in range(20)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    began = time.process_time()
    with pytest.raises(LandscapeError, match=r"asks for|more than [\d,]+ modules|does not hold the weights"):
        landscape.load(tmp_path, data="digits")
    assert time.process_time() - began < 15  # of this process; without the bound it never ends


@pytest.mark.parametrize("name", ["swin", "mixtral", "gpt_neo"])
def test_families_with_outputs_and_tables_of_their_own(name: str, tmp_path: Path) -> None:
    t = transformers
    torch.manual_seed(0)
    with quiet_transformers():
        if name == "swin":
            sizes = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
            model = t.SwinForImageClassification(
                t.SwinConfig(**sizes, window_size=4, num_channels=1, num_labels=CLASSES)
            )
        elif name == "mixtral":
            model = t.MixtralForCausalLM(t.MixtralConfig(**SIZES, **TEXT, num_key_value_heads=1, num_local_experts=2))
        else:
            sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
            model = t.GPTNeoForCausalLM(t.GPTNeoConfig(**sizes, vocab_size=TOKENS, bos_token_id=1, eos_token_id=2))
        model.eval().save_pretrained(tmp_path)
    data = batch("gpt2")
    if name == "swin":
        data = {
            "pixel_values": torch.randn(7, 1, 16, 16, generator=torch.Generator().manual_seed(0)),
            "labels": batch("vit")["labels"],
        }
    there = landscape.load(tmp_path, data=file_of(data, tmp_path.parent))
    with quiet_transformers(), torch.no_grad():
        own = float(model(**data).loss)
    assert float(there.value()) == pytest.approx(own, rel=1e-4)
