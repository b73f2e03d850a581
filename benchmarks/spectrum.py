"""Density, trace and layers beside curvlinops and PyHessian: time, products, and distance from the exact answer."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

import landscape
from landscape import Density, Eig, Objective, Trace
from landscape.algorithms.lanczos.batched import batched_lanczos
from landscape.operators import HessianOperator, PyHessianOperator
from landscape.operators.base import LinearOperator

try:
    import curvlinops
    from curvlinops.papyan2020traces import spectrum as papyan
except ImportError:  # an extra; its rows are then left out
    curvlinops = None

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
PROBES, STEPS = 8, 64
SEEDS = 5


class Timed(LinearOperator):
    """An operator that sums the time of its products."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner, self.size, self.like = inner, inner.size, inner.like
        self.seconds = 0.0

    def matmat(self, block: Tensor) -> Tensor:
        began = time.perf_counter()
        product = self.inner.matmat(block)
        float(product[0, 0])  # waits for the device
        self.seconds += time.perf_counter() - began
        return product


def objective_of(name: str, device: str, samples: int | None = None) -> Objective:
    objective = landscape.load(SAMPLES / f"{name}.pt", device=device)
    return objective if samples is None else objective.first(samples)


def matrix_of(objective: Objective) -> tuple[HessianOperator, Tensor]:
    """The operator, and for a small model its matrix."""
    operator = HessianOperator(objective)
    dense = operator.to_dense() if operator.size < 5000 else torch.empty(0)
    return operator, (dense + dense.T) / 2


# -- density -------------------------------------------------------------------------------------------------------


def lanczos_runs(objective: Objective, *, together: int, seed: int = 0) -> None:
    whole = [objective.space.whole_group()]
    running = batched_lanczos(
        HessianOperator(objective), whole, probes=PROBES, steps=STEPS, probes_per_pass=together, seed=seed
    )
    for _ in running:
        pass


def overheads(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Lockstep's whole time in its products' own, and in that of runs one after another."""
    table = {}
    for name, samples in (("digits-mlp", None), ("digits-resnet", 256), ("charlm", 16)):
        objective = objective_of(name, device, samples)
        operator = Timed(HessianOperator(objective))
        shares = []
        for _ in range(3):
            operator.seconds, began = 0.0, time.perf_counter()
            whole = [objective.space.whole_group()]
            for _ in batched_lanczos(operator, whole, probes=PROBES, steps=STEPS // 4, probes_per_pass=PROBES):
                pass
            shares.append((time.perf_counter() - began) / operator.seconds)
        row = {"parameters": objective.space.size, "time / products' own time": float(np.median(shares))}
        if name == "digits-mlp":
            jobs = {
                "together": lambda o=objective: lanczos_runs(o, together=PROBES),
                "apart": lambda o=objective: lanczos_runs(o, together=1),
            }
            seconds = harness.interleaved(jobs, repeats, device)
            row["8 separate runs / lockstep"] = seconds["apart"] / seconds["together"]
        table[name] = row
    return table


@contextlib.contextmanager
def repaired_pyhessian() -> Iterator[None]:
    """PyHessian's density() calls torch.eig, which is gone: its formula with eigh in its place."""

    def eig(matrix: Tensor, eigenvectors: bool) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    original = getattr(torch, "eig", None)
    torch.eig = eig  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.eig = original  # type: ignore[attr-defined]


Nodes = tuple[np.ndarray, np.ndarray]


def densities(objective: Objective) -> dict[str, Callable[[int], Nodes]]:
    """Each tool's quadrature nodes and weights of 8 probes x 64 steps, by seed."""

    def ours(seed: int) -> Nodes:
        result = landscape.run(Density(probes=PROBES, steps=STEPS, seed=seed), objective)
        return np.nan_to_num(result.ritz_nodes).ravel(), result.ritz_weights.ravel()

    pairs = [(batch.inputs, batch.targets) for batch in objective.batches]

    def theirs(seed: int) -> Nodes:
        torch.manual_seed(seed)
        operator, nodes, weights = harness.curvlinops_operator(objective.model, pairs), [], []
        with contextlib.redirect_stderr(io.StringIO()):
            for _ in range(PROBES):
                values, vectors = papyan.fast_lanczos(operator, STEPS)
                nodes.append(values.cpu().numpy())
                weights.append((vectors[0] ** 2).cpu().numpy())
        return np.concatenate(nodes), np.concatenate(weights)

    def pyhessian(seed: int) -> Nodes:
        torch.manual_seed(seed)
        computation = PyHessianOperator(objective)._computation
        with repaired_pyhessian():
            nodes, weights = computation.density(iter=STEPS, n_v=PROBES)
        return np.concatenate(nodes), np.concatenate(weights)

    jobs = {"landscape": ours, "PyHessian, repaired": pyhessian}
    return {**jobs, "curvlinops": theirs} if curvlinops else jobs


def convolutional(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The same work on a convolutional net, whose exact density is not known."""
    jobs = densities(objective_of("digits-resnet", device, 32))
    seconds = harness.interleaved({name: lambda job=job: job(0) for name, job in jobs.items()}, 1, device, warm=False)
    ours = seconds["landscape"]
    return {name: {"seconds": own, "time / landscape's": own / ours} for name, own in seconds.items()}


def density_table(device: str, repeats: int) -> dict[str, dict[str, float]]:
    objective = objective_of("digits-mlp", device)
    exact = np.linalg.eigvalsh(matrix_of(landscape.load(SAMPLES / "digits-mlp.pt", dtype="float64"))[1].numpy())
    jobs = densities(objective)
    found: dict[str, list[float]] = {name: [] for name in jobs}

    def measured(name: str) -> None:
        nodes, weights = jobs[name](len(found[name]))  # another seed each time
        found[name].append(wasserstein_distance(exact, nodes, None, weights))

    seconds = harness.interleaved({name: partial(measured, name) for name in jobs}, repeats, device)
    table = {}
    for name, distances in found.items():
        table[name] = {
            "seconds": seconds[name],
            "time / landscape's": seconds[name] / seconds["landscape"],
            "1-Wasserstein distance, mean over seeds": float(np.mean(distances)),
        }
    return table


# -- trace ---------------------------------------------------------------------------------------------------------


def reference_trace(objective: Objective) -> float:
    """The exact trace of a small model; of others an estimate from many more products than are compared."""
    few = objective.space.size < 5000
    return float(landscape.run(Trace(rtol=1e-9 if few else 1e-3, max_products=4000 if few else 1500), objective).trace)


def traces(name: str, device: str, samples: int | None, *, limit: int) -> dict[str, dict[str, float]]:
    """Products to a 95 % half-width of 1 %: as stated by our estimators, as repetition shows for curvlinops."""
    objective = objective_of(name, device, samples)
    reference = reference_trace(objective)
    table: dict[str, dict[str, float]] = {}
    for method in ("auto", "xtrace", "hutch++", "hutchinson"):
        results = [
            landscape.run(Trace(method=method, seed=seed, max_products=limit), objective) for seed in range(SEEDS)
        ]
        errors = np.array([result.trace / reference - 1 for result in results])
        table[method] = {
            "products": float(np.mean([result.products for result in results])),
            "reached 1 %": float(np.mean([not result.trouble() for result in results])),
            "1.96 rms error": float(1.96 * np.sqrt((errors**2).mean())),
        }
    if curvlinops is not None:
        table["curvlinops Hutch++"] = curvlinops_trace(objective, reference, limit)
    return table


def curvlinops_trace(objective: Objective, reference: float, limit: int) -> dict[str, float]:
    operator = _AsTensorOperator(HessianOperator(objective))
    products = 48
    while True:
        errors = []
        for seed in range(2 * SEEDS):
            torch.manual_seed(seed)
            errors.append(float(curvlinops.hutchpp_trace(operator, products)) / reference - 1)
        half = 1.96 * float(np.sqrt(np.square(errors).mean()))
        if half <= 0.01 or products * 1.25 > limit:
            return {"products": float(products), "reached 1 %": float(half <= 0.01), "1.96 rms error": half}
        products = int(products * 1.25) // 3 * 3


class _AsTensorOperator:
    """Our products as curvlinops' estimators want them, so that the estimators alone are compared."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner, self.shape = inner, (inner.size, inner.size)
        self.device, self.dtype = inner.like.device, inner.like.dtype

    def __matmul__(self, other: Tensor) -> Tensor:
        return self.inner @ other


# -- layers --------------------------------------------------------------------------------------------------------


def layers(device: str, repeats: int) -> dict[str, float]:
    """The largest eigenvalue and the trace to 5 % for all 39 layers of digits-resnet, in the full network's figures."""
    objective = objective_of("digits-resnet", device, 256)

    def both(**options: Any) -> Callable[[], Any]:
        def run() -> None:
            landscape.run(Eig(k=1, **options), objective)
            landscape.run(Trace(rtol=0.05, **options), objective)

        return run

    seconds = harness.interleaved({"full": both(), "layers": both(per_layer=True)}, repeats, device)
    return {"full network, seconds": seconds["full"], "with all layers / full": seconds["layers"] / seconds["full"]}


if __name__ == "__main__":
    harness.main(
        "spectrum",
        {
            "8 probes x 64 steps, digits-mlp": density_table,
            "8 probes x 64 steps, digits-resnet, 32 images": convolutional,
        },
        {
            "trace of digits-noisy to 1 %": lambda device, _: traces("digits-noisy", device, 256, limit=800),
            "trace of digits-resnet to 1 %": lambda device, _: traces("digits-resnet", device, 64, limit=600),
            "all layers of digits-resnet, k = 1 and trace to 5 %": layers,
        },
        long={
            "8 probes in lockstep": overheads,
            "trace of digits-mlp to 1 %": lambda device, _: traces("digits-mlp", device, None, limit=3000),
        },
    )
