"""On a CUDA device: the same numbers as on the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLES

import landscape
from landscape import (
    Density,
    Direction,
    Edit,
    Eig,
    Flatness,
    Measures,
    Memorization,
    Objective,
    Sharpness,
    Surface,
    Trace,
)
from landscape.algorithms.lanczos.lanczos import lanczos
from landscape.algorithms.lanczos.ritz import ritz_pairs
from landscape.algorithms.lanczos.state import WantedPairs
from landscape.compute.strategy import ProductSettings
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Sweep
from landscape.gates import measuring as checking
from landscape.gates.measuring import MeasurementSetup
from landscape.gates.policy import parse_policy
from landscape.gates.verdict import judge
from landscape.operators import FisherOperator, GaussNewtonOperator, HessianOperator, PyHessianOperator

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "charlm"])
def test_products_equal_the_cpu_s(name: str) -> None:
    products = []
    for device in ("cpu", "cuda"):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, dtype="float64")
        vector = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64, device=device)
        products.append((HessianOperator(objective) @ vector).cpu())
    assert torch.allclose(*products, rtol=1e-9, atol=1e-9 * float(products[0].abs().max()))


@pytest.mark.parametrize(
    "settings",
    [ProductSettings("loop", cuda_graphs="on"), ProductSettings("vmap", cuda_graphs="on"), ProductSettings()],
)
def test_recorded_products_equal_launched_ones(settings: ProductSettings) -> None:
    plain, recorded = (
        landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64", cuda_graphs="off", micro_batch=500)
        for _ in range(2)
    )
    recorded.settings = settings
    operators = HessianOperator(plain), HessianOperator(recorded)
    for columns in (1, 8, 8, 1):
        block = torch.randn(plain.space.size, columns, dtype=torch.float64, device="cuda")
        products = [operator @ block for operator in operators]
        assert torch.allclose(*products, rtol=1e-9, atol=1e-9 * float(products[0].abs().max()))


def test_data_that_are_read_anew_are_copied_ahead() -> None:
    kept = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    streamed = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    batches = [batch.map(lambda tensor: tensor.cpu()) for batch in streamed.batches]
    streamed.batches = replace(streamed.batches, source=batches, kept=False, whole=None)
    assert torch.allclose(streamed.gradient(), kept.gradient(), rtol=1e-9, atol=1e-12)
    assert torch.allclose(HessianOperator(streamed) @ kept.theta, HessianOperator(kept) @ kept.theta, atol=1e-9)


def test_a_basis_in_the_host_s_memory_gives_the_same_eigenvalues() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda")
    operator, wanted = HessianOperator(objective), WantedPairs(3)
    values = []
    for spill in (False, True):
        *_, state = lanczos(operator, wanted, max_basis=30, max_products=200, block=2, spill=spill)
        values.append(ritz_pairs(state, wanted).values)
    assert np.allclose(*values, rtol=1e-5)


def test_running_out_of_memory_halves_and_goes_on() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 4096), torch.nn.Tanh(), torch.nn.Linear(4096, 10))
    data = [(torch.randn(20000, 64), torch.randint(0, 10, (20000,)))]
    roomy = Objective(net, data, "cross_entropy", device="cuda", micro_batch=1000)
    block = torch.randn(roomy.space.size, 8, device="cuda")
    expected = HessianOperator(roomy) @ block
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        tight = Objective(
            net, data, "cross_entropy", device="cuda", micro_batch=20000, settings=ProductSettings("vmap")
        )
        product = HessianOperator(tight) @ block
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tight.micro_batch < 20000 or tight.strategies.latest("hessian", 8).columns < 8
    assert torch.allclose(product, expected, rtol=1e-4, atol=1e-6)


def test_eigenvalues_equal_the_cpu_s() -> None:
    values = [
        landscape.run(Eig(k=5), landscape.load(SAMPLES / "digits-mlp.pt", device=device)).eigenvalues
        for device in ("cpu", "cuda")
    ]
    assert np.allclose(*values, rtol=1e-5)


def test_pyhessian_works_there_too() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device="cuda", dtype="float64")
    assert torch.allclose(
        PyHessianOperator(objective) @ objective.theta, HessianOperator(objective) @ objective.theta, atol=1e-10
    )


@pytest.mark.parametrize("kind", [GaussNewtonOperator, FisherOperator])
def test_gauss_newton_and_fisher_equal_the_cpu_s(kind: type[GaussNewtonOperator]) -> None:
    products = []
    for device in ("cpu", "cuda"):
        objective = landscape.load(SAMPLES / "charlm.pt", device=device, dtype="float64").first(8)
        block = torch.linspace(-1, 1, 2 * objective.space.size, dtype=torch.float64, device=device).view(-1, 2)
        products.append((kind(objective) @ block).cpu())
    assert torch.allclose(*products, rtol=1e-8, atol=1e-9 * float(products[0].abs().max()))


def test_blocks_equal_the_cpu_s() -> None:
    products = []
    for device in ("cpu", "cuda"):
        objective = landscape.load(SAMPLES / "digits-resnet.pt", device=device, dtype="float64").first(64)
        operator = HessianOperator(objective).block_diagonal(objective.space.layers())
        products.append((operator @ objective.theta).cpu())
    assert torch.allclose(*products, rtol=1e-8, atol=1e-9 * float(products[0].abs().max()))


def test_density_and_trace_equal_the_cpu_s() -> None:
    objectives = [landscape.load(SAMPLES / "digits-mlp.pt", device=device) for device in ("cpu", "cuda")]
    densities = [landscape.run(Density(probes=3, steps=20), objective) for objective in objectives]
    assert np.allclose(densities[0].lambda_max, densities[1].lambda_max, rtol=1e-5)
    assert np.allclose(densities[0].frobenius_norm, densities[1].frobenius_norm, rtol=1e-3)
    traces = [landscape.run(Trace(rtol=0.05, resample=5), objective) for objective in objectives]
    assert np.allclose(traces[0].trace, traces[1].trace, rtol=1e-3)
    assert np.allclose(traces[0].data_standard_error, traces[1].data_standard_error, rtol=1e-3)


def test_sharpness_and_flatness_equal_the_cpu_s() -> None:
    objectives = [landscape.load(SAMPLES / "digits-mlp.pt", device=device) for device in ("cpu", "cuda")]
    sharp = [landscape.run(Sharpness(starts=3, draws=20, per_layer=True), objective) for objective in objectives]
    assert np.allclose(sharp[0].s_max, sharp[1].s_max, rtol=1e-3)
    assert np.allclose(sharp[0].s_avg, sharp[1].s_avg, rtol=1e-3)
    flat = [landscape.run(Flatness(starts=3, steps=8), objective) for objective in objectives]
    assert np.allclose(flat[0].r1, flat[1].r1, rtol=1e-3)
    measures = [landscape.run(Measures(draws=2, rtol=0.3), objective) for objective in objectives]
    assert np.allclose(measures[0].fisher_rao, measures[1].fisher_rao, rtol=1e-4)
    steps = [landscape.run(Direction(lr=0.1), objective) for objective in objectives]
    assert np.allclose(steps[0].safe_radius, steps[1].safe_radius, rtol=1e-3)


@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "charlm"])
def test_surfaces_equal_the_cpu_s_in_every_way(name: str) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device, dtype="float64", limit=64)
        frame = Surface()._frame(objective, Surface()._treatments(objective), None, 0)
        sweep, points = Sweep(objective), [(0.0, 0.0), (0.2, -0.1), (-0.3, 0.3)]
        losses.append(sweep.evaluate(frame.plane, points)[:, 0])
        sweep.use_settings(PassSettings(64, points=2))
        assert np.allclose(sweep.evaluate(frame.plane, points)[:, 0], losses[-1], rtol=1e-9)
        sweep.use_settings(PassSettings(64, channels_last=True))
        assert np.allclose(sweep.evaluate(frame.plane, points)[:, 0], losses[-1], rtol=1e-9)
    assert np.allclose(*losses, rtol=1e-9)


def test_a_surface_runs_there_from_end_to_end() -> None:
    result = landscape.run(Surface(adaptive=True), landscape.load(SAMPLES / "digits-mlp.pt", device="cuda"))
    assert result.evaluations < 0.4 * result.points
    assert result.curvature_alpha == pytest.approx(result.hessian_alpha, rel=0.05)


def test_a_baseline_of_the_cpu_passes_and_the_device_is_told() -> None:
    rules = parse_policy()
    analyses = [Eig(k=1), Trace(rtol=0.05), Sharpness(norm="linf", average_rho=(0.2,), starts=5)]
    entries = [
        checking.measure_entry(
            "a.pt",
            lambda device=device: landscape.load(SAMPLES / "digits-mlp.pt", device=device),
            rules,
            MeasurementSetup(analyses),
        )
        for device in ("cpu", "cuda")
    ]
    verdicts = judge(rules, entries[:1], entries[1:])
    assert {verdict.status for verdict in verdicts} == {"pass"}
    assert all("device cuda here, cpu in the baseline" in verdict.notes for verdict in verdicts)


@pytest.mark.parametrize("name", ["digits-noisy", "digits-resnet", "charlm"])
def test_bands_and_scores_equal_the_cpu_s(name: str) -> None:
    options = {"labels": "gold", "per_layer": False, "controls": 1, "resamples": 20}
    found = [
        landscape.run(
            Memorization(**options),  # type: ignore[arg-type]
            landscape.load(SAMPLES / f"{name}.pt", device=device, dtype="float64", limit=64),
        )
        for device in ("cpu", "cuda")
    ]
    for field in (
        "delta_loss",
        "noise_delta_loss",
        "kept_fraction",
        "edit_damage",
        "gradient_norm2",
        "activation_ratio",
    ):
        one, two = (getattr(result, field) for result in found)
        assert np.allclose(one, two, rtol=1e-6, atol=1e-8), field


@pytest.mark.parametrize("method", ["kfac", "coupled", "activation", "svd", "random", "noise"])
def test_edits_equal_the_cpu_s(method: str) -> None:
    found = [
        landscape.run(
            Edit(rho=(0.9,), method=method, labels="gold"),  # type: ignore[arg-type]
            landscape.load(SAMPLES / "digits-noisy.pt", device=device, dtype="float64"),
        )
        for device in ("cpu", "cuda")
    ]
    assert np.allclose(found[0].loss_after, found[1].loss_after, rtol=1e-6)
