"""Edits against their definitions, the known answers of two samples, and what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_contract import AnalysisContract, equal
from conftest import SAMPLES, quiet_transformers
from memorized import fitted
from safetensors.torch import load_file
from torch import Tensor

import landscape
from landscape import Edit, session
from landscape.analyses.memorization.edit_result import EditResult
from landscape.checkpoints import read
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestEdit(AnalysisContract):
    @pytest.fixture
    def analysis(self) -> Edit:
        return Edit(max_loss_increase=0.05)

    @pytest.fixture
    def objective(self, classification: Data, tmp_path: Path) -> landscape.Objective:
        return described(classification, tmp_path)


def described(data: Data, folder: Path) -> landscape.Objective:
    """The fitted net as a checkpoint that describes itself."""
    objective = fitted(data)
    path = folder / "own" / "net.pt"
    path.parent.mkdir(exist_ok=True)
    held = {"model": "mlp", "model_args": {"sizes": [5, 6, 4, 3], "activation": "tanh"}}
    landscape.save(path, objective.model, data=(data[0][:16], data[1][:16]), loss="cross_entropy", spec=held)
    return landscape.load(path)


def edited(objective: landscape.Objective, **options: Any) -> EditResult:
    result: EditResult = landscape.run(Edit(**options), objective)
    return result


class TestTheSweep:
    def test_it_stops_before_the_budget_is_exceeded(self, classification: Data) -> None:
        found = edited(fitted(classification), max_loss_increase=0.05)
        rises = found.population_loss[list(found.population).index("clean")] - found.loss_before[1]
        assert found.bounded_by.tolist() == ["clean"]
        assert found.rho[0] == 1
        assert (np.diff(found.rho) < 0).all()
        assert (rises[:-1] <= 0.05).all()
        assert rises[-1] > 0.05
        assert found.chosen_rho == found.rho[-2]
        assert found.loss_increase == pytest.approx(rises[-2])
        assert found.loss_increase_se > 0

    def test_nothing_is_removed_if_nothing_may_change(self, classification: Data) -> None:
        found = edited(fitted(classification), max_loss_increase=0, rho=(0.5, 0.3))
        assert found.chosen_rho == 1
        assert found.weights == {}
        assert any("nothing can be removed within the budget" in said for said in found.remarks())

    def test_another_population_may_bound_it(self, classification: Data) -> None:
        found = edited(fitted(classification), max_loss_increase=0.05, bounded_by="held-out")
        assert found.bounded_by.tolist() == ["held-out"]
        by_data = edited(fitted(classification), max_loss_increase=0.05, bounded_by="data")
        assert by_data.bounded_by.tolist() == ["data"]
        assert "data" in list(by_data.population)
        with pytest.raises(UsageError, match=r"no population helt-out.*did you mean held-out(.|\n)*--bounded-by"):
            edited(fitted(classification), max_loss_increase=0.05, bounded_by="helt-out")

    def test_several_rhos_without_a_budget_are_a_sweep_alone(self, classification: Data) -> None:
        found = edited(fitted(classification), rho=(0.9, 0.5))
        assert found.rho.tolist() == [1, 0.9, 0.5]
        assert found.chosen_rho == 1
        assert found.weights == {}
        assert any("a sweep without a budget" in said for said in found.remarks())

    def test_what_would_exceed_the_budget_is_said(self, classification: Data) -> None:
        found = edited(fitted(classification), max_loss_increase=0.05)
        assert np.array_equal(found.bound_loss, found.population_loss[list(found.population).index("clean")])
        assert any(f"rho {found.rho[-1]:g} would exceed the budget" in said for said in found.remarks())

    def test_columns_before_and_after_are_those_of_the_chosen_point(self, classification: Data) -> None:
        found = edited(fitted(classification), max_loss_increase=0.05)
        place = list(found.rho).index(found.chosen_rho)
        assert np.array_equal(found.loss_before, found.population_loss[:, 0])
        assert np.array_equal(found.loss_after, found.population_loss[:, place])
        assert found.accuracy is not None
        assert np.array_equal(found.accuracy_after, found.accuracy[:, place])

    def test_what_it_is_to_do_must_be_said(self, classification: Data) -> None:
        with pytest.raises(UsageError, match="neither --rho nor --max-loss-increase"):
            edited(fitted(classification))
        with pytest.raises(UsageError, match="--rho is 1.2"):
            Edit(rho=(1.2,))


@pytest.mark.parametrize("method", ["kfac", "coupled", "activation", "svd", "random", "noise"])
class TestEveryMethod:
    def test_the_tensors_are_those_that_the_losses_are_of(self, method: Any, classification: Data) -> None:
        objective = fitted(classification, dtype="float64")
        found = edited(objective, rho=(0.6,), method=method)
        assert found.weights is not None
        assert set(found.weights) == {"0.weight", "2.weight"}
        theta = objective.theta.clone()
        for name, part in objective.space.unflatten(theta).items():
            if name in found.weights:
                part.copy_(torch.from_numpy(found.weights[name]))
        place = list(found.population).index("clean")
        from landscape.evaluation.populations import populations

        assert float(populations(objective)["clean"].value(theta)) == pytest.approx(found.loss_after[place], rel=1e-10)

    def test_the_whole_mass_changes_nothing(self, method: Any, classification: Data) -> None:
        found = edited(fitted(classification), rho=(1.0,), method=method)
        assert found.weights == {}
        assert found.loss_increase == 0


def test_coupled_and_plain_factors_differ(classification: Data) -> None:
    one, two = (edited(fitted(classification), rho=(0.6,), method=name) for name in ("kfac", "coupled"))
    assert one.weights is not None
    assert two.weights is not None
    assert not equal(one.weights, two.weights)
    assert one.factors is not None
    assert two.factors is not None
    assert not any("coupled" in name for name in one.factors)
    assert any("coupled" in name for name in two.factors)


@pytest.mark.parametrize("rho", [0.9])
def test_the_noisy_sample_forgets_its_wrong_labels_and_little_else(rho: float) -> None:
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    found = edited(objective, rho=(rho,))
    assert found.accuracy is not None
    after = dict(zip(found.population, found.accuracy[:, 1], strict=True))
    before = dict(zip(found.population, found.accuracy[:, 0], strict=True))
    assert after["memorized"] <= 0.25
    assert after["clean"] >= 0.95
    assert after["truth"] >= 0.70
    assert after["held-out"] >= before["held-out"] - 0.03
    random = edited(objective, rho=(rho,), method="random")
    assert random.accuracy is not None
    assert dict(zip(random.population, random.accuracy[:, 1], strict=True))["clean"] < 0.3


@pytest.fixture(scope="module")
def recitals() -> dict[str, EditResult]:
    """charlm swept by two methods until its validation loss rises."""
    objective = landscape.load(SAMPLES / "charlm.pt")
    objective.populations = {name: objective.populations[name] for name in ("held-out", "memorized")}
    options: dict[str, Any] = {"bounded_by": "held-out", "max_loss_increase": 0.2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landscape.evaluation.per_sample.recitation.MAX_TEXTS", 32)
        return {
            "kfac": edited(objective, rho=(0.995, 0.99), **options),
            "svd": edited(objective, rho=(0.9, 0.85), method="svd", **options),
        }


def test_canaries_are_erased_at_a_third_of_what_singular_values_cost(recitals: dict[str, EditResult]) -> None:
    def cost(found: EditResult) -> float:
        """The rise of the validation loss at which a fifth of the canaries' tokens are still decoded."""
        assert found.greedy_match is not None
        names = list(found.population)
        match = found.greedy_match[names.index("memorized")]
        rise = found.population_loss[names.index("held-out")] - found.loss_before[names.index("held-out")]
        assert match[-1] < 0.2 < match[0]
        return float(np.interp(-0.2, -match, rise))

    assert cost(recitals["svd"]) > 3 * cost(recitals["kfac"])
    assert recitals["kfac"].recitation is not None
    names = list(recitals["kfac"].population)
    recited = dict(zip(recitals["kfac"].rho, recitals["kfac"].recitation[names.index("memorized")], strict=True))
    assert recited[1.0] == 1.0
    assert recited[0.99] == 0.0


class TestWhatIsWritten:
    def test_only_edited_tensors_change_and_undo_restores_the_file(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        result = session.run(Edit(rho=(0.9,)), landscape.load(tmp_path / "n.pt"), output=output)
        written = tmp_path / "n.edited.safetensors"
        before, after = read(tmp_path / "n.pt").tensors, read(written).tensors
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"0.weight", "2.weight"}
        for name in changed:
            assert torch.equal(after[name], torch.from_numpy(result.weights[name]).float())
        again = landscape.load(written)
        assert float(again.value()) == pytest.approx(
            float(dict(zip(result.population, result.loss_after, strict=True))["memorized"]) * 0.1
            + 0.9 * float(dict(zip(result.population, result.loss_after, strict=True))["clean"]),
            rel=1e-4,
        )
        about = read_manifest(written)["about"]
        assert about["method"] == "kfac"
        assert about["rho"] == 0.9
        json.dumps(about)
        content = (tmp_path / "n.pt").read_bytes()
        (tmp_path / "n.pt").unlink()
        assert undo_edit(written) == tmp_path / "n.pt"
        assert (tmp_path / "n.pt").read_bytes() == content

    def test_what_stands_there_is_kept_and_said_before_anything_is_measured(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        (tmp_path / "n.edited.safetensors").write_text("mine")
        steps: list[Any] = []
        with pytest.raises(UsageError, match="not what an earlier edit wrote"):
            session.run(
                Edit(rho=(0.9,)),
                landscape.load(tmp_path / "n.pt"),
                output=tmp_path / "n.landscape.h5",
                report=steps.append,
            )
        assert not steps
        assert (tmp_path / "n.edited.safetensors").read_text() == "mine"

    def test_an_edit_that_removes_nothing_leaves_an_earlier_one(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        session.run(Edit(rho=(0.9,)), landscape.load(tmp_path / "n.pt"), output=output)
        content = (tmp_path / "n.edited.safetensors").read_bytes()
        session.run(Edit(rho=(0.5,), max_loss_increase=0.0), landscape.load(tmp_path / "n.pt"), output=output)
        assert (tmp_path / "n.edited.safetensors").read_bytes() == content

    def test_an_earlier_edit_is_replaced(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        for rho in (0.9, 0.95):
            said: list[str] = []
            session.execute(Edit(rho=(rho,)), landscape.load(tmp_path / "n.pt"), output=output, say=said.append)
        assert any("replaced the earlier edit in" in line for line in said)
        assert read_manifest(tmp_path / "n.edited.safetensors")["about"]["rho"] == 0.95

    def test_a_gate_writes_no_checkpoint(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        objective = landscape.load(tmp_path / "n.pt")
        session.execute(Edit(rho=(0.9,)), objective, output=tmp_path / "n.landscape.h5", deliver=False)
        assert not list(tmp_path.glob("*edited*"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_hugging_face_model_end_to_end(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 23, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    with quiet_transformers():
        if family == "gpt2":
            config = transformers.GPT2Config(n_positions=16, n_embd=16, n_layer=2, n_head=2, **sizes)
        else:
            shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
            config = transformers.LlamaConfig(max_position_embeddings=16, **shape, **sizes)
        model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
        model.save_pretrained(tmp_path / "m")
    ids = torch.randint(3, 23, (24, 12), generator=torch.Generator().manual_seed(0))
    torch.save({"input_ids": ids[:16]}, tmp_path / "data.pt")
    torch.save({"input_ids": ids[16:]}, tmp_path / "clean.pt")
    objective = landscape.load(tmp_path / "m", data=str(tmp_path / "data.pt"))
    output = tmp_path / "m.landscape.h5"
    named = (f"memorized={tmp_path / 'data.pt'}", f"clean={tmp_path / 'clean.pt'}")
    spectrum = session.run(
        landscape.Memorization(population=named, layers=("*mlp*",), bands=(0.1, 0.5), resamples=20, controls=1),
        objective,
        output=output,
    )
    assert spectrum.recitation is not None
    assert len(spectrum.layer) == (4 if family == "gpt2" else 6)
    every = session.run(Edit(population=named, rho=(1.0,)), objective, output=tmp_path / "all.landscape.h5")
    assert len(every.layer) == (8 if family == "gpt2" else 14)  # its head is tied, and no other is taken for it
    assert np.isfinite(spectrum.input_curvature).all()
    result = session.run(Edit(population=named, layers=("*mlp*",), rho=(0.7,)), objective, output=output)
    edited_folder = tmp_path / "m.edited"
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "m", edited_folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == len(spectrum.layer)
    assert all("mlp" in name for name in changed)
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    with quiet_transformers():
        again = transformers.AutoModelForCausalLM.from_pretrained(edited_folder, dtype=torch.float32).eval()
        with torch.no_grad():
            loss = again(input_ids=ids[16:], labels=ids[16:]).loss
    names = list(result.population)
    assert float(loss) == pytest.approx(result.loss_after[names.index("clean")], rel=2e-3)  # bf16 rounds the weights
    content = (tmp_path / "m" / "model.safetensors").read_bytes()
    undo_edit(edited_folder, tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == content


def test_the_rise_s_error_is_that_of_paired_samples(classification: Data) -> None:
    from landscape.evaluation.per_sample.outcomes import sample_outcomes
    from landscape.evaluation.populations import populations

    objective = fitted(classification, dtype="float64")
    found = edited(objective, rho=(0.6,))
    theta = objective.theta.clone()
    for name, part in objective.space.unflatten(theta).items():
        if found.weights is not None and name in found.weights:
            part.copy_(torch.from_numpy(found.weights[name]))
    clean = populations(objective)["clean"]
    apart = (sample_outcomes(clean, theta).losses - sample_outcomes(clean).losses).numpy()
    assert found.loss_increase == pytest.approx(apart.mean(), rel=1e-10)
    assert found.loss_increase_se == pytest.approx(apart.std(ddof=1) / len(apart) ** 0.5, rel=1e-10)


def test_rhos_that_are_nearly_equal_are_told_apart(classification: Data) -> None:
    found = edited(fitted(classification), rho=(0.9999999, 0.9, 0.9000001), max_loss_increase=1e3)
    assert found.rho.tolist() == [1.0, 0.9999999, 0.9000001, 0.9]
    assert found.population_loss.shape == (3, 4)


def test_a_name_that_bounds_nothing_is_said_before_anything_is_measured(classification: Data) -> None:
    with pytest.raises(UsageError, match="--bounded-by"):
        next(Edit(max_loss_increase=0.1, bounded_by="clena").measure(fitted(classification)))
    with pytest.raises(UsageError, match="--bounded-by"):
        Edit(max_loss_increase=0.1, bounded_by="clena").plan(fitted(classification))


def test_the_energy_is_that_of_all_layers_together(classification: Data) -> None:
    objective = fitted(classification, dtype="float64")
    found = edited(objective, rho=(0.6,))
    before = objective.space.unflatten(objective.theta)
    names = ["0.weight", "2.weight"]
    assert found.weights is not None
    left = sum(float((found.weights[name] ** 2).sum()) for name in names)
    assert found.weight_energy[1] == pytest.approx(
        left / sum(float(before[n].square().sum()) for n in names), rel=1e-10
    )


def test_a_loss_that_is_none_is_beyond_any_budget(generator: torch.Generator) -> None:
    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = torch.nn.Linear(5, 4, bias=False), torch.nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x)
            out: Tensor = self.b(hidden / hidden.norm(dim=1, keepdim=True))
            return out

    x, y = torch.randn(20, 5, generator=generator), torch.randint(0, 3, (20,), generator=generator)
    found = edited(landscape.Objective(Unit(), (x, y), "cross_entropy"), rho=(0.9, 0.0), max_loss_increase=1e6)
    assert np.isnan(found.bound_loss[-1])
    assert found.chosen_rho == 0.9


def test_every_copy_of_a_tied_weight_is_written(tmp_path: Path) -> None:
    """The file has a tied weight under both names; the model is called without either name's own copy."""
    (tmp_path / "tied.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.a, self.b, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)\n"
        "        self.b.weight = self.a.weight\n"
        "    def forward(self, x):\n        return self.out(self.b(self.a(x).tanh()).tanh())\n"
        "def data():\n    g = torch.Generator().manual_seed(0)\n"
        "    return [(torch.randn(30, 6, generator=g), torch.randint(0, 3, (30,), generator=g))]\n"
    )
    import importlib.util

    spec = importlib.util.spec_from_file_location("tied", tmp_path / "tied.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    torch.save({name: tensor.clone() for name, tensor in module.Tied().state_dict().items()}, tmp_path / "t.pt")
    named = {"model": f"{tmp_path / 'tied.py'}:Tied", "data": f"{tmp_path / 'tied.py'}:data", "loss": "cross_entropy"}
    result = session.run(
        Edit(rho=(0.5,)), landscape.load(tmp_path / "t.pt", **named), output=tmp_path / "t.landscape.h5"
    )
    written = tmp_path / "t.edited.safetensors"
    tensors = read(written).tensors
    assert torch.equal(tensors["a.weight"], tensors["b.weight"])
    assert not torch.equal(tensors["a.weight"], read(tmp_path / "t.pt").tensors["a.weight"])
    assert float(landscape.load(written, **named).value()) == pytest.approx(float(result.loss_after[0]), rel=1e-5)
