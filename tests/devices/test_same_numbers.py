"""Every analysis gives the CPU's numbers on another device: run with `--device strict` or `--device cuda`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
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
    Sharpness,
    Surface,
    Trace,
)
from landscape.analyses.surfaces.planes import random_frame
from landscape.evaluation.directions import treatments
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Sweep
from landscape.gates import measuring
from landscape.gates.measuring import MeasurementSetup
from landscape.gates.policy import parse_policy
from landscape.gates.verdict import judge
from landscape.operators import FisherOperator, GaussNewtonOperator, HessianOperator, PyHessianOperator

pytestmark = [pytest.mark.device, pytest.mark.other_device]


def large(name: str) -> ParameterSet:
    """A sample that takes minutes on the strict device, whose every operation goes through Python."""
    return pytest.param(name, marks=pytest.mark.gpu)


@pytest.mark.parametrize("name", ["digits-mlp", "digits-resnet", "charlm"])
def test_products_equal_the_cpu_s(name: str, device: str) -> None:
    products = []
    for where in ("cpu", device):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=where, dtype="float64", limit=8)
        vector = torch.linspace(-1, 1, objective.space.size, dtype=torch.float64, device=where)
        products.append((HessianOperator(objective) @ vector).cpu())
    assert torch.allclose(*products, rtol=1e-9, atol=1e-9 * float(products[0].abs().max()))


def test_eigenvalues_equal_the_cpu_s(device: str) -> None:
    values = [
        landscape.run(Eig(k=5), landscape.load(SAMPLES / "digits-mlp.pt", device=where)).eigenvalues
        for where in ("cpu", device)
    ]
    assert np.allclose(*values, rtol=1e-5)


@pytest.mark.gpu  # PyHessian knows the CPU and CUDA
def test_pyhessian_works_there_too(device: str) -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device=device, dtype="float64")
    assert torch.allclose(
        PyHessianOperator(objective) @ objective.theta, HessianOperator(objective) @ objective.theta, atol=1e-10
    )


@pytest.mark.parametrize("kind", [GaussNewtonOperator, FisherOperator])
def test_gauss_newton_and_fisher_equal_the_cpu_s(kind: type[GaussNewtonOperator], device: str) -> None:
    products = []
    for where in ("cpu", device):
        objective = landscape.load(SAMPLES / "charlm.pt", device=where, dtype="float64", limit=4)
        block = torch.linspace(-1, 1, 2 * objective.space.size, dtype=torch.float64, device=where).view(-1, 2)
        products.append((kind(objective) @ block).cpu())
    assert torch.allclose(*products, rtol=1e-8, atol=1e-9 * float(products[0].abs().max()))


def test_blocks_equal_the_cpu_s(device: str) -> None:
    products = []
    for where in ("cpu", device):
        objective = landscape.load(SAMPLES / "digits-resnet.pt", device=where, dtype="float64", limit=8)
        operator = HessianOperator(objective).block_diagonal(objective.space.layers())
        products.append((operator @ objective.theta).cpu())
    assert torch.allclose(*products, rtol=1e-8, atol=1e-9 * float(products[0].abs().max()))


def test_density_and_trace_equal_the_cpu_s(device: str) -> None:
    objectives = [landscape.load(SAMPLES / "digits-mlp.pt", device=where) for where in ("cpu", device)]
    densities = [landscape.run(Density(probes=3, steps=20), objective) for objective in objectives]
    assert np.allclose(densities[0].lambda_max, densities[1].lambda_max, rtol=1e-5)
    assert np.allclose(densities[0].frobenius_norm, densities[1].frobenius_norm, rtol=1e-3)
    traces = [landscape.run(Trace(rtol=0.05, resample=5), objective) for objective in objectives]
    assert np.allclose(traces[0].trace, traces[1].trace, rtol=1e-3)
    assert np.allclose(traces[0].data_standard_error, traces[1].data_standard_error, rtol=1e-3)


def test_sharpness_and_flatness_equal_the_cpu_s(device: str) -> None:
    objectives = [landscape.load(SAMPLES / "digits-mlp.pt", device=where) for where in ("cpu", device)]
    sharp = [landscape.run(Sharpness(starts=3, draws=20, per_layer=True), objective) for objective in objectives]
    assert np.allclose(sharp[0].s_max, sharp[1].s_max, rtol=1e-3)
    assert np.allclose(sharp[0].s_avg, sharp[1].s_avg, rtol=1e-3)
    flat = [landscape.run(Flatness(starts=3, steps=8), objective) for objective in objectives]
    assert np.allclose(flat[0].r1, flat[1].r1, rtol=1e-3)
    measures = [landscape.run(Measures(draws=2, rtol=0.3), objective) for objective in objectives]
    assert np.allclose(measures[0].fisher_rao, measures[1].fisher_rao, rtol=1e-4)
    steps = [landscape.run(Direction(lr=0.1), objective) for objective in objectives]
    assert np.allclose(steps[0].safe_radius, steps[1].safe_radius, rtol=1e-3)


@pytest.mark.parametrize("name", ["digits-mlp", pytest.param("digits-resnet", marks=pytest.mark.gpu), "charlm"])
def test_surfaces_equal_the_cpu_s_in_every_way(name: str, device: str) -> None:
    losses = []
    for where in ("cpu", device):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=where, dtype="float64", limit=8)
        frame = random_frame(objective, 2, treatments(objective, "filter", ()), 0, 0)
        sweep, points = Sweep(objective), [(0.0, 0.0), (0.2, -0.1), (-0.3, 0.3)]
        losses.append(sweep.evaluate(frame.plane, points)[:, 0])
        sweep.use_settings(PassSettings(64, points=2))
        assert np.allclose(sweep.evaluate(frame.plane, points)[:, 0], losses[-1], rtol=1e-9)
        sweep.use_settings(PassSettings(64, channels_last=True))
        assert np.allclose(sweep.evaluate(frame.plane, points)[:, 0], losses[-1], rtol=1e-9)
    assert np.allclose(*losses, rtol=1e-9)


def test_a_surface_runs_there_from_end_to_end(device: str) -> None:
    result = landscape.run(Surface(adaptive=True), landscape.load(SAMPLES / "digits-mlp.pt", device=device))
    assert result.evaluations < 0.4 * result.points
    assert result.curvature_alpha == pytest.approx(result.hessian_alpha, rel=0.05)


def test_a_baseline_of_the_cpu_passes_and_the_device_is_told(device: str) -> None:
    rules = parse_policy()
    analyses = [Eig(k=1), Trace(rtol=0.05), Sharpness(norm="linf", average_rho=(0.2,), starts=5)]
    entries = [
        measuring.measure_entry(
            "a.pt",
            lambda where=where: landscape.load(SAMPLES / "digits-mlp.pt", device=where),
            rules,
            MeasurementSetup(analyses),
        )
        for where in ("cpu", device)
    ]
    verdicts = judge(rules, entries[:1], entries[1:])
    assert {verdict.status for verdict in verdicts} == {"pass"}
    told = [f"device {device} here, cpu in the baseline" in verdict.notes for verdict in verdicts]
    assert told == [device != "cpu"] * len(verdicts)


@pytest.mark.parametrize("name", ["digits-mlp", *map(large, ("digits-noisy", "digits-resnet", "charlm"))])
def test_bands_and_scores_equal_the_cpu_s(name: str, device: str) -> None:
    options = {"labels": "gold", "per_layer": False, "controls": 1, "resamples": 20}
    found = [
        landscape.run(
            Memorization(**options),  # type: ignore[arg-type]
            landscape.load(SAMPLES / f"{name}.pt", device=where, dtype="float64", limit=16),
        )
        for where in ("cpu", device)
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
def test_edits_equal_the_cpu_s(method: str, device: str) -> None:
    found = [
        landscape.run(
            Edit(rho=(0.9,), method=method, labels="gold"),  # type: ignore[arg-type]
            landscape.load(SAMPLES / "digits-noisy.pt", device=where, dtype="float64"),
        )
        for where in ("cpu", device)
    ]
    assert np.allclose(found[0].loss_after, found[1].loss_after, rtol=1e-6)
