"""Products with the Hessian, by every strategy, beside PyHessian, curvlinops and JAX; memory; cost against size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Eig, Objective, checkpoints
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.operators import HessianOperator, PyHessianOperator
from landscape.zoo import char_transformer, digits, mlp, resnet

try:
    import in_jax
except ImportError:
    in_jax = None  # type: ignore[assignment]

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
LARGE = 5_000_000  # parameters: whose products are timed once
AGREE = 1e-4  # relative, in float32, between different tools
Net = tuple[nn.Module, Tensor, Tensor]  # with one batch


def sample(name: str, device: str, samples: int = 256) -> Net:
    """A sample's model in eval mode and its first samples."""
    checkpoint = checkpoints.read(SAMPLES / f"{name}.pt")
    assert checkpoint.spec is not None
    model = {"mlp": mlp, "resnet": resnet}[str(checkpoint.spec.model)](**checkpoint.spec.model_args)
    model.load_state_dict(checkpoint.tensors)
    batches = digits(**checkpoint.spec.data_args)
    inputs, targets = (torch.cat(parts)[:samples].to(device) for parts in zip(*batches, strict=True))
    return model.eval().to(device), inputs, targets


def transformer(device: str) -> Net:
    """Six layers of width 512 over a sequence of 256 tokens, at random weights."""
    torch.manual_seed(0)
    model = char_transformer(vocabulary=64, length=256, width=512, heads=8, layers=6).eval().to(device)
    ids = torch.randint(0, 64, (1, 257), device=device)
    return model, ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def columns_of(size: int, count: int, *, device: str) -> Tensor:
    """A block `(P, K)` that lies in memory column after column, as a basis does."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0)).to(device).T


def nets(device: str) -> dict[str, Net]:
    return {
        "conv: digits-resnet, 256 images": sample("digits-resnet", device),
        "MLP: digits-mlp, 256 images": sample("digits-mlp", device),
        "transformer: width 512, 6 layers, 256 tokens": transformer(device),
    }


def objective_of(net: Net, settings: ProductSettings | None = None, **options: Any) -> Objective:
    model, inputs, targets = net
    return Objective(
        model, [(inputs, targets)], "cross_entropy", device=str(inputs.device), settings=settings, **options
    )


def gradient_of(net: Net) -> Callable[[], Tensor]:
    """One plain forward and backward pass."""
    model, inputs, targets = net
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradient() -> Tensor:
        loss = functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        return torch.autograd.grad(loss, parameters)[0]

    return gradient


def ours(net: Net, block: Tensor, settings: ProductSettings) -> tuple[Callable[[], Tensor], Objective]:
    """The product as a long run makes it: with the graph kept, and after the trial."""
    objective = objective_of(net, settings)
    operator = HessianOperator(objective)
    return lambda: operator @ block, objective


def jobs_of(
    net: Net, columns: int, *, compiled: bool, small: bool
) -> tuple[dict[str, Callable[[], Any]], dict[str, float], Strategy]:
    """Every tool's product with so many columns, how far it is from ours, and the strategy that ours chooses."""
    model, inputs, targets = net
    size = sum(p.numel() for p in model.parameters())
    block = columns_of(size, columns, device=str(inputs.device))
    auto, objective = ours(net, block, ProductSettings())
    expected = auto()
    chosen = objective.strategies.latest("hessian", columns)
    assert chosen is not None
    jobs = {"landscape": auto, "landscape, loop": ours(net, block, ProductSettings("loop"))[0]}
    if columns > 1:
        jobs["landscape, vmap"] = ours(net, block, ProductSettings("vmap"))[0]
    if small:
        jobs["landscape, linearize"] = ours(net, block, ProductSettings("linearize"))[0]
    if compiled:
        jobs["landscape, compiled"] = ours(net, block, ProductSettings("loop", compile=True))[0]
        again = objective_of(net, ProductSettings("loop"))
        jobs["landscape, loop, graph rebuilt"] = lambda: HessianOperator(again) @ block
    theirs = PyHessianOperator(objective)
    jobs["PyHessian"] = lambda: theirs @ block
    if harness.curvlinops and targets.ndim == 1:  # it takes no targets of sequences
        operator = harness.curvlinops_operator(model, [(inputs, targets)])
        jobs["curvlinops"] = lambda: operator @ block
    if in_jax is not None and inputs.device.type == in_jax.devices().replace("gpu", "cuda"):
        product, numbers = in_jax.product(model, inputs.cpu(), targets.cpu()), block.cpu().numpy()
        jobs["JAX, jitted and vmapped"] = lambda: product(numbers)
    apart = {name: difference(expected, job()) for name, job in jobs.items()}
    assert max(apart.values()) < AGREE, apart
    return jobs, apart, chosen


def difference(expected: Tensor, found: Any) -> float:
    """Relative to the size of what is expected."""
    other = found.cpu() if isinstance(found, Tensor) else torch.tensor(found)
    return float((other - expected.cpu()).norm() / expected.cpu().norm())


def products(name: str) -> harness.Measure:
    """Time of a product per vector, in gradients, of every strategy and tool."""

    def measure(device: str, repeats: int) -> dict[str, dict[str, float]]:
        net = nets(device)[name]
        table: dict[str, dict[str, float]] = {}
        large = name.startswith("transformer")
        for columns in (1, 8):
            jobs, apart, strategy = jobs_of(net, columns, compiled=name.startswith("MLP"), small=not large)
            seconds = harness.interleaved(
                {"gradient": gradient_of(net), **jobs}, 1 if large else 2 * repeats, device, warm=not large
            )
            for tool in jobs:
                cost = seconds[tool] / columns / seconds["gradient"]
                table.setdefault(tool, {})[f"K = {columns}, gradients per vector"] = cost
                table[tool]["relative difference"] = apart[tool]
            tried = {
                kind: seconds[f"landscape, {kind}"] for kind in ("loop", "vmap") if f"landscape, {kind}" in seconds
            }
            ratio = tried[strategy.kind] / min(tried.values())
            table["landscape"][f"K = {columns}, way taken / best of loop and vmap"] = ratio
            print(f"  {name}, K = {columns}: {strategy}", flush=True)
        return table

    return measure


# -- memory --------------------------------------------------------------------------------------------------------


def memory(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Peak of a product from nothing, in MB, beside the plan."""
    rows = {}
    for name, net in nets(device).items():
        size = sum(p.numel() for p in net[0].parameters())
        for columns, settings in (
            (1, ProductSettings("loop")),
            (8, ProductSettings("loop")),
            (8, ProductSettings("vmap")),
        ):
            block = columns_of(size, columns, device=device)
            objective = objective_of(net, settings)
            operator = HessianOperator(objective)
            strategy = Strategy("vmap", columns) if settings.hvp == "vmap" else Strategy()
            planned = operator.strategy_bytes(columns, strategy)
            operator @ block
            peak = harness.peak_bytes(lambda objective=objective, block=block: HessianOperator(objective) @ block)
            rows[f"{name.partition(':')[0]}, K = {columns}, {settings.hvp}"] = {
                "measured [MB]": peak / 1e6,
                "planned [MB]": planned / 1e6,
                "measured / planned": peak / planned,
            }
    return rows


def tight(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """The same product, 4,000 samples and 4 columns at once, in processes that have ever less memory than it needs."""

    def run(limit: int) -> dict[str, Any]:
        command = [sys.executable, str(Path(__file__).parent / "tight.py"), str(limit)]
        returning = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"}  # or freed tensors stay address space in use
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=returning)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    whole, rows = run(0), {}
    expected = torch.tensor(whole["product"])
    for share in (0.9, 1.3, 1.8):
        found = run(int(whole["bytes"] / share))
        rows[f"needs {100 * share:.0f} % of what there is"] = {
            "samples at once": found["micro-batch"],
            "columns at once": found["columns at once"],
            "relative difference": difference(expected, torch.tensor(found["product"])),
        }
    return rows


# -- cost against size ---------------------------------------------------------------------------------------------


def against(cases: dict[str, tuple[Net, int, int]], device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Products of nets whose data come in batches of a size, with so many columns: beside gradients over the same."""
    rows = {}
    for label, (net, columns, batch) in cases.items():
        model, inputs, targets = net
        batches = list(zip(inputs.split(batch), targets.split(batch), strict=True))
        objective = Objective(model, batches, "cross_entropy", device=device)
        operator = HessianOperator(objective)
        block = columns_of(objective.space.size, columns, device=device)
        for _ in range(3):  # the trial, and the graphs
            operator @ block
        parts = [gradient_of((model, x, y)) for x, y in batches]
        product = partial(operator.__matmul__, block)
        turns = 1 if objective.space.size > LARGE else repeats
        seconds = harness.interleaved({"gradient": partial(run_all, parts), "product": product}, turns, device)
        rows[label] = {
            "ms per vector": 1e3 * seconds["product"] / columns,
            "gradients per vector": seconds["product"] / columns / seconds["gradient"],
        }
    return rows


def run_all(parts: list[Callable[[], Tensor]]) -> None:
    for part in parts:
        part()


def perceptron(sizes: list[int], samples: int, device: str) -> Net:
    torch.manual_seed(0)
    inputs = torch.randn(samples, sizes[0], device=device)
    return mlp(sizes, "relu").eval().to(device), inputs, torch.randint(0, 10, (samples,), device=device)


def parameters(device: str, repeats: int) -> dict[str, dict[str, float]]:
    shapes = {"1e3": [16, 32, 10], "1e4": [64, 96, 32, 10], "1e5": [64, 256, 256, 10], "1e6": [64, 960, 960, 10]}
    shapes |= {"1e7": [64, 3100, 3100, 10], "3e7": [64, 5400, 5400, 10]}
    cases = {f"P = {name}, K = {k}": (perceptron(s, 256, device), k, 256) for name, s in shapes.items() for k in (1, 8)}
    return against(cases, device, repeats)


def data(device: str, repeats: int) -> dict[str, dict[str, float]]:
    sizes = (256, 4096, 25_600, 100_000)
    cases = {f"{n:,} samples": (perceptron([64, 32, 20, 10], n, device), 8, 256) for n in sizes}
    return against(cases, device, repeats)


def columns(device: str, repeats: int) -> dict[str, dict[str, float]]:
    rows = {}
    for name in ("digits-mlp", "digits-resnet"):
        net = sample(name, device)
        cases = {
            f"{name}, K = {k}": (net, k, 256) for k in (1, 2, 4, 8, 16, 32, 64)[: None if name == "digits-mlp" else 5]
        }
        rows |= against(cases, device, repeats if name == "digits-mlp" else 1)
    return rows


def eigenvalues(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Whole runs by the number of eigenvalues, with the second start."""
    rows = {}
    for k in (1, 2, 5, 10, 20, 50):
        objective = landscape.load(SAMPLES / "digits-mlp.pt", device=device)
        result = landscape.run(Eig(k=k), objective)
        jobs = {"run": lambda k=k, o=objective: landscape.run(Eig(k=k), o)}
        rows[f"k = {k}"] = {"products": result.products, "seconds": harness.interleaved(jobs, repeats, device)["run"]}
    return rows


# -- where the time goes -------------------------------------------------------------------------------------------

KINDS = {  # of operations, by a part of their name
    "matrix products and convolutions": ("mm", "convolution", "conv2d", "linear", "mkldnn", "gemm", "matmul", "dot"),
    "copies and layout": ("copy_", "clone", "contiguous", "cat", "fill_", "zero_", "slice", "select", "index", "as_str",
                          "pad", "empty", "stack", "split", "reshape", "view", "expand", "transpose", "permute", "::t"),
}  # fmt: skip


def profile(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Shares of the time of a product with 8 columns, by kind of operation, and its distance from the floor."""
    from torch.profiler import ProfilerActivity

    rows = {}
    for name, net in nets(device).items():
        block = columns_of(sum(p.numel() for p in net[0].parameters()), 8, device=device)
        job, _ = ours(net, block, ProductSettings())
        seconds = harness.interleaved({"gradient": gradient_of(net), "product": job}, repeats, device)
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.startswith("cuda") else [])
        with torch.profiler.profile(activities=activities) as found:
            began = time.perf_counter()
            job()
            harness._wait(device)
            whole = time.perf_counter() - began
        spent = dict.fromkeys((*KINDS, "elementwise and reductions"), 0.0)
        for event in found.key_averages():
            own = event.self_device_time_total if device.startswith("cuda") else event.self_cpu_time_total
            kind = next((k for k, words in KINDS.items() if any(w in event.key for w in words)), None)
            if event.key.startswith(("aten::", "mkldnn", "void", "sm", "ampere", "cutlass")):
                spent[kind or "elementwise and reductions"] += own / 1e6
        row = {f"{kind} %": 100 * value / whole for kind, value in spent.items()}
        row["between operations %"] = 100 * max(0.0, 1 - sum(spent.values()) / whole)
        row["gradients per vector"] = seconds["product"] / 8 / seconds["gradient"]
        row["floor by counting"] = 2.0  # the graph is there: a forward and a backward pass of it
        rows[name] = row
    return rows


PEERS = {f"Products: {name}": products(name) for name in nets("cpu")}
LARGEST = next(title for title in PEERS if "transformer" in title)

if __name__ == "__main__":
    harness.main(
        "products",
        {title: measure for title, measure in PEERS.items() if title != LARGEST},
        long={
            LARGEST: PEERS[LARGEST],
            "Products: peak memory": memory,
            "Products: with little memory": tight,
            "Products: cost against parameters, 256 samples": parameters,
            "Products: cost against samples, MLP of 2,950 parameters in batches of 256, K = 8": data,
            "Products: cost against columns, 256 samples": columns,
            "Products: eigenvalues of digits-mlp": eigenvalues,
            "Products: where the time of one goes, K = 8": profile,
        },
    )
