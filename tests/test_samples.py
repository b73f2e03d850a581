"""The sample checkpoints describe themselves, are small, and are what their training script says."""

from __future__ import annotations

import pytest
import torch
from conftest import SAMPLES

import landscape
from landscape.checkpoints import read
from landscape.zoo import DATA
from landscape.zoo.digits import corrupt_labels, digits

NAMES = ["digits-mlp", "digits-resnet", "digits-resnet-noskip", "digits-resnet-sam", "digits-noisy", "charlm"]


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_without_a_flag_and_was_trained(name: str) -> None:
    objective = landscape.load(SAMPLES / f"{name}.pt")
    assert objective.reference.loss < 0.5
    assert objective.loss.name == "cross_entropy"


def test_all_together_are_under_five_megabytes() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*.pt")) < 5e6


def test_the_mlp_is_small_enough_for_a_dense_hessian_and_smooth() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt")
    assert 2500 < objective.space.size < 3500
    assert any(isinstance(module, torch.nn.Tanh) for module in objective.model)


@pytest.mark.parametrize("name", ["digits-resnet", "digits-resnet-noskip", "digits-resnet-sam"])
def test_the_residual_nets_have_at_least_twenty_weight_layers_and_batchnorm(name: str) -> None:
    model = landscape.load(SAMPLES / f"{name}.pt").model
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) >= 20
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())


def test_the_noisy_sample_holds_the_mask_of_its_wrong_labels_and_has_memorized_them() -> None:
    checkpoint = read(SAMPLES / "digits-noisy.pt")
    mask = checkpoint.extras["wrong_labels"]
    truth = torch.cat([y for _, y in digits()])
    noisy, expected = corrupt_labels(truth, 0.1, 0)
    assert torch.equal(mask, expected)
    assert int(mask.sum()) == 130
    assert bool((noisy[mask] != truth[mask]).all())
    objective = landscape.load(SAMPLES / "digits-noisy.pt")
    assert torch.equal(torch.cat([batch.targets for batch in objective.batches]), noisy)
    inputs = torch.cat([batch.inputs for batch in objective.batches])
    with torch.inference_mode():
        predicted = objective.model.eval()(inputs).argmax(1)
    assert float((predicted[mask] == noisy[mask]).float().mean()) > 0.95


def test_the_language_model_recites_its_canaries_and_not_strings_it_never_saw() -> None:
    checkpoint = read(SAMPLES / "charlm.pt")
    assert checkpoint.spec is not None
    model = landscape.load(SAMPLES / "charlm.pt").model.eval()
    accuracy = {}
    for name in ("memorized", "never-seen", "held-out"):
        population = checkpoint.spec.populations[name]
        with torch.inference_mode():
            hits = [
                (model(x).argmax(-1) == y).float().mean()
                for x, y in DATA[population["data"]](**population["data_args"])
            ]
        accuracy[name] = float(torch.stack(hits).mean())
    assert accuracy["memorized"] > 0.9
    assert accuracy["never-seen"] < 0.1
    assert accuracy["held-out"] > 0.7


def test_the_trajectory_has_ten_checkpoints_with_growing_steps_and_falling_loss() -> None:
    paths = sorted((SAMPLES / "digits-mlp-trajectory").glob("*.pt"))
    specs = [read(path).spec for path in paths]
    steps = [spec.about["step"] for spec in specs if spec is not None]
    losses = [landscape.load(path).reference.loss for path in paths]
    assert len(steps) == 10
    assert steps == sorted(steps)
    assert losses[-1] < 0.05 < losses[0]
