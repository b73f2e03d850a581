"""Eigenvalues and products beside PyHessian, and curvlinops with ARPACK: accuracy, products, time, memory."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor

import landscape
from landscape import Eig, Objective
from landscape.operators import HessianOperator, PyHessianOperator
from landscape.zoo import digits, resnet

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
Batches = list[tuple[Tensor, Tensor]]


def objective_of(name: str, device: str, **options: Any) -> Objective:
    return landscape.load(SAMPLES / f"{name}.pt", device=device, **options)


# -- whole runs ----------------------------------------------------------------------------------------------------


def exact_values(name: str, device: str, k: int) -> np.ndarray:
    """The largest k by a dense solver, or for a larger net by Lanczos in double precision."""
    objective = objective_of(name, device, dtype="float64")
    if objective.space.size > 5000:
        return landscape.run(Eig(k=k, tol=1e-7, confirm=0), objective).eigenvalues  # to 1e-14
    dense = HessianOperator(objective).to_dense()
    return np.linalg.eigvalsh(((dense + dense.T) / 2).cpu().numpy())[::-1][:k]


def solvers(name: str, device: str, k: int) -> dict[str, Callable[[], tuple[np.ndarray, int]]]:
    """Each returns the k largest eigenvalues, descending, and the products over the full data that it took."""
    objective = objective_of(name, device)

    def ours(**options: Any) -> Callable[[], tuple[np.ndarray, int]]:
        def run() -> tuple[np.ndarray, int]:
            result = landscape.run(Eig(k=k, **options), objective)
            return result.eigenvalues, result.products

        return run

    def pyhessian() -> tuple[np.ndarray, int]:
        operator = PyHessianOperator(objective)
        products = 0
        original = operator._computation.dataloader_hv_product

        def counted(vector: Any) -> Any:
            nonlocal products
            products += 1
            return original(vector)

        operator._computation.dataloader_hv_product = counted
        values = operator.power_iteration(k, seed=0)
        return np.sort(values)[::-1], products

    def arpack() -> tuple[np.ndarray, int]:
        from scipy.sparse.linalg import LinearOperator, eigsh

        operator = harness.curvlinops_operator(objective.model, ((b.inputs, b.targets) for b in objective.batches))
        products = 0

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal products
            products += 1
            return (operator @ torch.from_numpy(vector.ravel()).float().to(device)).cpu().numpy()

        size = operator.shape[0]
        with contextlib.redirect_stderr(io.StringIO()):
            scipy_operator = LinearOperator((size, size), matvec=product, dtype=np.float32)
            start = np.random.default_rng(0).normal(size=size).astype(np.float32)
            values = eigsh(scipy_operator, k=k, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)
        return np.sort(values)[::-1], products

    jobs = {"landscape": ours(), "PyHessian": pyhessian}
    if objective.space.size < 5000:
        jobs |= {"landscape, --max-basis 2k+20": ours(max_basis=2 * k + 20), "landscape, --block 8": ours(block=8)}
    return {**jobs, "curvlinops + ARPACK": arpack} if harness.curvlinops else jobs


def whole_runs(name: str, device: str, k: int, repeats: int) -> dict[str, dict[str, float]]:
    exact, jobs, found = exact_values(name, device, k), solvers(name, device, k), {}
    works = {tool: lambda tool=tool, job=job: found.update({tool: job()}) for tool, job in jobs.items()}
    seconds = harness.interleaved(works, repeats, device, warm=repeats > 1)
    table = {}
    for tool, (values, products) in found.items():
        error = float(np.abs(values / exact - 1).max())
        table[tool] = {"products": products, "seconds": seconds[tool], "worst relative error": error}
    ours = table["landscape"]
    for row in table.values():
        row["time / landscape's"] = row["seconds"] / ours["seconds"]
        row["products / landscape's"] = row["products"] / ours["products"]
    return table


# -- large models --------------------------------------------------------------------------------------------------


def overhead(device: str) -> dict[str, float]:
    """What Lanczos itself takes beside its products, on a residual network of 1.1 million parameters."""
    torch.manual_seed(0)
    objective = Objective(resnet(blocks=3, width=32), digits(images=True)[:1], "cross_entropy", device=device)
    spent = 0.0
    original = HessianOperator.matmat

    def timed(self: HessianOperator, block: Tensor) -> Tensor:
        nonlocal spent
        began = time.perf_counter()
        product = original(self, block)
        harness._wait(device)
        spent += time.perf_counter() - began
        return product

    HessianOperator.matmat = timed  # type: ignore[method-assign]
    try:
        began = time.perf_counter()
        result = landscape.run(Eig(k=10), objective)
        total = time.perf_counter() - began
    finally:
        HessianOperator.matmat = original  # type: ignore[method-assign]
    _ = objective.reference
    return {
        "parameters": objective.space.size,
        "samples": objective.batches.samples,
        "products": result.products,
        "share of time outside products": 1 - spent / total,
    }


def large(device: str, samples: int) -> dict[str, float]:
    """A residual network of 25 million parameters: the plan against what happened."""
    torch.manual_seed(0)
    inputs, targets = digits(images=True)[0]
    objective = Objective(resnet(blocks=3, width=155), [(inputs[:samples], targets[:samples])], device=device)
    analysis = Eig(k=5)
    plan = analysis.plan(objective)
    began = time.perf_counter()
    result = landscape.run(analysis, objective)
    seconds = time.perf_counter() - began
    return {
        "parameters": objective.space.size,
        "samples": samples,
        "products": result.products,
        "converged": int(result.converged.sum()),
        "seconds": seconds,
        "planned seconds / seconds": plan.seconds / seconds,
        "planned basis, GB": plan.bytes / 1e9,
        "peak resident memory, GB": _resident(),
    }


def _resident() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


# -- report --------------------------------------------------------------------------------------------------------


def plans(device: str) -> dict[str, dict[str, float]]:
    """The planned time against the time that it took, over trained samples."""
    table = {}
    for name, k in (("digits-mlp", 20), ("digits-resnet", 5), ("charlm", 2)):
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device)
        analysis = Eig(k=k)
        plan = analysis.plan(objective)
        began = time.perf_counter()
        result = landscape.run(analysis, objective)
        seconds = time.perf_counter() - began
        table[f"{name}, k = {k}"] = {
            "products": result.products, "seconds": seconds, "planned seconds / seconds": plan.seconds / seconds
        }  # fmt: skip
    return table


if __name__ == "__main__":
    harness.main(
        "eig",
        {
            "top 20 of digits-mlp, tol 1e-3": lambda device, repeats: whole_runs("digits-mlp", device, 20, repeats),
            "work outside products, 1.1M parameters": lambda device, _: overhead(device),
            "plan of --dry-run": lambda device, _: plans(device),
        },
        {"25M parameters, k = 5": lambda device, _: large(device, 64)},
        long={
            "top 20 of digits-resnet, tol 1e-3, one run": lambda device, _: whole_runs("digits-resnet", device, 20, 1),
        },
    )
