"""Eigenvalues and products beside PyHessian, and curvlinops with ARPACK: accuracy, products, time, memory."""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Eig, Objective, checkpoints
from landscape.operators import HessianOperator, PyHessianOperator
from landscape.zoo import digits, mlp, resnet

try:
    from curvlinops import HessianLinearOperator
except ImportError:  # an extra; its rows are then left out
    HessianLinearOperator = None

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
Batches = list[tuple[Tensor, Tensor]]


def sample(name: str, device: str) -> tuple[nn.Module, Batches]:
    """A sample's model in eval mode and its training data."""
    checkpoint = checkpoints.read(SAMPLES / f"{name}.pt")
    assert checkpoint.spec is not None
    build = {"mlp": mlp, "resnet": resnet}[str(checkpoint.spec.model)]
    model = build(**checkpoint.spec.model_args)
    model.load_state_dict(checkpoint.tensors)
    batches = digits(**checkpoint.spec.data_args)
    return model.eval().to(device), [(x.to(device), y.to(device)) for x, y in batches]


def curvlinops_operator(model: nn.Module, batches: Batches) -> Any:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        return HessianLinearOperator(model, nn.CrossEntropyLoss(), parameters, batches, check_deterministic=False)


# -- whole runs ----------------------------------------------------------------------------------------------------


def exact_spectrum(device: str) -> np.ndarray:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", dtype="float64", device=device)
    dense = HessianOperator(objective).to_dense()
    return np.linalg.eigvalsh(((dense + dense.T) / 2).cpu().numpy())[::-1]


def solvers(device: str, k: int) -> dict[str, Callable[[], tuple[np.ndarray, int]]]:
    """Each returns the k largest eigenvalues, descending, and the products over the full data that it took."""
    objective = landscape.load(SAMPLES / "digits-mlp.pt", device=device)
    model, batches = sample("digits-mlp", device)

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

        operator = curvlinops_operator(model, batches)
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

    jobs = {"landscape": ours(), "landscape, --max-basis 2k+20": ours(max_basis=2 * k + 20), "PyHessian": pyhessian}
    return {**jobs, "curvlinops + ARPACK": arpack} if HessianLinearOperator is not None else jobs


def whole_runs(device: str, k: int, repeats: int) -> dict[str, dict[str, float]]:
    exact = exact_spectrum(device)[:k]
    jobs = solvers(device, k)
    seconds = harness.interleaved(jobs, repeats, device)
    table = {}
    for name, job in jobs.items():
        values, products = job()
        error = float(np.abs(values / exact - 1).max())
        table[name] = {"products": products, "seconds": seconds[name], "worst relative error": error}
    ours = table["landscape"]
    for row in table.values():
        row["time / landscape's"] = row["seconds"] / ours["seconds"]
        row["products / landscape's"] = row["products"] / ours["products"]
    return table


# -- one product ---------------------------------------------------------------------------------------------------


def product_jobs(model: nn.Module, batches: Batches, device: str, columns: int) -> dict[str, Callable[[], Any]]:
    objective = Objective(model, batches, "cross_entropy", device=device)
    block = torch.randn(objective.space.size, columns, device=device)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradient() -> None:
        for inputs, targets in batches:
            torch.autograd.grad(functional.cross_entropy(model(inputs), targets), parameters)

    jobs: dict[str, Callable[[], Any]] = {"gradient": gradient, "landscape": lambda: HessianOperator(objective) @ block}
    theirs = PyHessianOperator(objective)
    jobs["PyHessian"] = lambda: theirs @ block
    if HessianLinearOperator is not None:
        operator = curvlinops_operator(model, batches)
        jobs["curvlinops"] = lambda: operator @ block
    return jobs


def product_cost(name: str, device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Time of a product per vector, and its peak memory, both in gradients over the same batches."""
    model, batches = sample(name, device)
    table: dict[str, dict[str, float]] = {}
    for columns in (1, 8):
        jobs = product_jobs(model, batches, device, columns)
        seconds = harness.interleaved(jobs, repeats, device)
        peaks = {tool: harness.peak_bytes(jobs[tool]) for tool in ("gradient", "landscape")}
        for tool, value in seconds.items():
            if tool != "gradient":
                table.setdefault(tool, {})[f"K = {columns}, gradients per vector"] = (
                    value / columns / seconds["gradient"]
                )
        table["landscape"][f"K = {columns}, peak memory in gradients'"] = peaks["landscape"] / peaks["gradient"]
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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--skip-large", action="store_true", help="leave out the 25M-parameter network")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
    figures: dict[str, Any] = {
        "top 20 of digits-mlp, tol 1e-3": whole_runs(chosen.device, 20, 3),
        "one product of digits-resnet": product_cost("digits-resnet", chosen.device, chosen.repeats),
        "one product of digits-mlp": product_cost("digits-mlp", chosen.device, chosen.repeats),
        "work outside products, 1.1M parameters": overhead(chosen.device),
    }
    figures["plan of --dry-run"] = plans(chosen.device)
    if not chosen.skip_large:
        figures["25M parameters, k = 5"] = large(chosen.device, 64)
    for title, table in figures.items():
        harness.show(title, table)
    print(f"\nwrote {harness.write('eig', chosen.device, figures)}")


if __name__ == "__main__":
    main()
