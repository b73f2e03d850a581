"""Factors beside a gradient, selection, scores beside a loop; sweeps and scores over seeds beside published figures."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from loading import peak
from torch import nn
from torch.nn import functional

import landscape
from landscape import Edit, Memorization, Objective
from landscape.algorithms.matrices import staircase
from landscape.evaluation.layers.factor_collector import FactorCollector, FactorSettings
from landscape.evaluation.layers.layer_selection import measurable_layers
from landscape.evaluation.per_sample.scores import gradient_squares
from landscape.network.linear_maps import LinearMap, linear_maps
from landscape.zoo import char_transformer

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
sys.path.insert(0, str(SAMPLES))
import train  # noqa: E402

SEEDS = 3
RHOS = (0.97, 0.95, 0.9, 0.8)
METHODS = ("kfac", "coupled", "activation", "svd", "random", "noise")
SWEEPS = {  # of each method, around the rho at which it forgets
    "kfac": (0.995, 0.99, 0.985, 0.98, 0.97),
    "coupled": (0.998, 0.995, 0.99, 0.98),
    "activation": (0.998, 0.995, 0.99, 0.98, 0.97),
    "svd": (0.95, 0.9, 0.85, 0.8, 0.75),
    "random": (0.999, 0.998, 0.995, 0.99, 0.98, 0.95),
    "noise": (0.98, 0.95, 0.9, 0.85, 0.8, 0.7),
}
REFERENCE = {  # of five other seeds: clean, memorized, truth, test
    0.97: (0.999, 0.668, 0.328, 0.928),
    0.95: (0.996, 0.337, 0.629, 0.928),
    0.9: (0.978, 0.122, 0.814, 0.928),
    0.8: (0.912, 0.049, 0.837, 0.885),
}
KNOWN = {"edit_damage": 0.989, "edit_kl": 0.987, "input_curvature": 0.979, "fisher_trace": 0.967}
KNOWN |= {"gradient_norm2": 0.965, "loss": 0.962, "trajectory_loss": 0.998}


# -- speed ---------------------------------------------------------------------------------------------------------


def layers_of(objective: Objective) -> list[LinearMap]:
    return measurable_layers(objective, linear_maps(objective.model, objective.space.names)[0])[0]


def operations(layers: Sequence[LinearMap], everything: Sequence[LinearMap], mixing: float) -> float:
    """Multiplications of a factor pass over those of a gradient, by counting.

    A gradient takes 3 p q per token and layer, a factor pass 2 p q without the gradients of weights, and half of
    p^2 + q^2, which are symmetric. `mixing` is what attention adds to each, per token.
    """
    gradient = sum(3 * one.size for one in everything) + 3 * mixing
    factors = (
        sum(2 * one.size for one in everything) + 3 * mixing + sum((o.inputs**2 + o.outputs**2) / 2 for o in layers)
    )
    return factors / gradient


def collection(device: str) -> dict[str, dict[str, float]]:
    """One pass that collects factors against one gradient, on a transformer of width 512, batch by batch the same."""
    torch.manual_seed(0)
    width, length, layers = 512, 256, 4
    net = char_transformer(vocabulary=64, length=length, width=width, heads=8, layers=layers)
    ids = torch.randint(0, 64, (8, length + 1))
    objective = Objective(net, (ids[:, :-1], ids[:, 1:]), "cross_entropy", device=device, micro_batch=4)
    found = layers_of(objective)
    groups = {
        "all hidden layers": found[:-1],
        "up of the last layer": [one for one in found if one.name == f"layers.{layers - 1}.up"],
        "up and down of the last layer": [
            o for o in found if o.name in (f"layers.{layers - 1}.up", f"layers.{layers - 1}.down")
        ],
    }
    jobs: dict[str, Callable[[], Any]] = {"gradient": lambda: float(objective.value_and_gradient()[0])}
    for name, some in groups.items():
        collector = FactorCollector(objective, some, FactorSettings("sampled"), {})
        jobs[name] = lambda collector=collector: collector.add(objective)  # type: ignore[misc]
    seconds = harness.interleaved(jobs, repeats=7)
    mixing = layers * length * width  # scores and their sums over values, half of them masked
    rows = {
        name: {
            "seconds": seconds[name],
            "over a gradient": seconds[name] / seconds["gradient"],
            "by counting": operations(some, found, mixing),
        }
        for name, some in groups.items()
    }
    harness.show("factors", rows)
    return rows


def selection() -> dict[str, dict[str, float]]:
    """The heaviest components of 2048 x 2048 by bisection, and by sorting all products."""
    random = np.random.RandomState(0)
    rows, columns = (np.sort(random.rand(2048) ** 6)[::-1] for _ in range(2))

    def by_sorting() -> int:
        products = np.outer(rows, columns).ravel()
        ordered = np.sort(products)[::-1]
        return int(np.searchsorted(np.cumsum(ordered), 0.9 * products.sum()))

    jobs: dict[str, Callable[[], Any]] = {
        "bisection": lambda: staircase.heaviest_prefix(rows, columns, 0.9),
        "sorting": by_sorting,
    }
    seconds = harness.interleaved(jobs, repeats=5)
    found = {
        "2048 x 2048": {
            "milliseconds": 1e3 * seconds["bisection"],
            "sorting / ours": seconds["sorting"] / seconds["bisection"],
        }
    }
    harness.show("selection", found)
    return found


def scores(device: str) -> dict[str, dict[str, float]]:
    """Squared gradients and Fisher traces of 1,300 digits: closed forms against a gradient for each sample."""
    objective = landscape.load(SAMPLES / "digits-noisy.pt", device=device)
    found, model = layers_of(objective)[:-1], objective.model.to(objective.device)
    inputs = torch.cat([batch.inputs for batch in objective.batches])
    targets = torch.cat([batch.targets for batch in objective.batches])
    weights = [one.modules[0].weight for one in found]

    def loop() -> None:
        for x, y in zip(inputs, targets, strict=True):
            output = model(x[None])
            torch.autograd.grad(functional.cross_entropy(output, y[None]), weights, retain_graph=True)
            for label in range(10):
                torch.autograd.grad(-output.log_softmax(1)[0, label], weights, retain_graph=True)  # type: ignore[arg-type]

    jobs: dict[str, Callable[[], Any]] = {
        "ours": lambda: gradient_squares(objective, found, FactorSettings("exact"), objective.theta),
        "loop": loop,
    }
    seconds = harness.interleaved(jobs, repeats=3)
    began = time.perf_counter()
    landscape.run(Memorization(per_layer=False, controls=0, resamples=10), objective)
    whole = time.perf_counter() - began
    rows = {
        "1,300 digits": {
            "seconds": seconds["ours"],
            "loop / ours": seconds["loop"] / seconds["ours"],
            "all scores and bands, s": whole,
        }
    }
    harness.show("scores", rows)
    return rows


def large_layer(
    device: str, outputs: int = 11008, inputs: int = 4096, tokens: int = 512
) -> dict[str, dict[str, float]]:
    """An edit of one layer of a 7B model: time, and memory beyond the layer; synthetic activations and gradients."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.Tanh(), nn.Linear(outputs, 64))
    data = torch.randn(tokens, inputs) @ torch.diag(torch.logspace(0, -2, inputs)), torch.randint(0, 64, (tokens,))
    objective = Objective(net, data, "cross_entropy", device=device)
    steps: list[tuple[str, float]] = []
    began = time.perf_counter()

    def edit() -> None:
        analysis = Edit(rho=(0.9,), layers=("0",), labels="sampled")
        landscape.run(analysis, objective, report=lambda p: steps.append((p.note, time.perf_counter() - began)))

    rows = {
        f"{outputs} x {inputs}, {tokens} tokens": {
            "peak, GB": peak(edit) / 1e9,
            "factors, s": max(seconds for note, seconds in steps if note == "factors"),
            "factored and edited, s": time.perf_counter() - began,
        }
    }
    harness.show("one layer of a 7B model", rows)
    return rows


# -- what they find ------------------------------------------------------------------------------------------------


def nets() -> list[tuple[Path, Path]]:
    """Three nets that memorized their wrong labels, each with twenty checkpoints of its training."""
    home = Path(tempfile.mkdtemp())
    found = []
    spec = landscape.checkpoints.read(SAMPLES / "digits-noisy.pt").spec
    assert spec is not None
    held = {key: getattr(spec, key) for key in ("model", "model_args", "data_args", "populations")}
    for seed in range(SEEDS):
        folder = home / f"seed-{seed}"
        folder.mkdir()
        seen: list[int] = []

        def keep(model: nn.Module, folder: Path = folder, seen: list[int] = seen) -> None:
            seen.append(0)
            if len(seen) % 10 == 1 and len(seen) > 1:
                landscape.save(
                    folder / f"epoch-{len(seen) - 1}.pt", model, data="digits", loss="cross_entropy", spec=held
                )

        model = train.noisy_model(seed=seed, each_epoch=keep)
        path = home / f"{seed}.pt"
        landscape.save(path, model, data="digits", loss="cross_entropy", spec=held)
        found.append((path, folder))
    return found


def accuracies(path: Path, **options: Any) -> dict[str, np.ndarray]:
    result = landscape.run(Edit(max_loss_increase=1e9, **options), landscape.load(path))
    return {str(name): row for name, row in zip(result.population, result.accuracy, strict=True)} | {"rho": result.rho}


def sweep(found: list[tuple[Path, Path]]) -> dict[str, dict[str, float]]:
    """Accuracies after the edit, means over seeds, with the published figures beside them."""
    columns = {"clean": 0, "memorized": 1, "truth": 2, "held-out": 3}
    every = [accuracies(path, rho=RHOS) for path, _ in found]
    random = [accuracies(path, rho=RHOS, method="random")["clean"] for path, _ in found]
    rows: dict[str, dict[str, float]] = {}
    for place, rho in enumerate((1.0, *RHOS)):
        rows[f"rho {rho:g}"] = {}
        for name, column in columns.items():
            rows[f"rho {rho:g}"][name] = float(np.mean([one[name][place] for one in every]))
            if rho in REFERENCE:
                rows[f"rho {rho:g}"][f"{name}, published"] = REFERENCE[rho][column]
        rows[f"rho {rho:g}"]["clean, random components"] = float(np.mean([one[place] for one in random]))
    harness.show("sweep", rows)
    return rows


def methods(found: list[tuple[Path, Path]]) -> dict[str, dict[str, float]]:
    """What each method leaves of the rest where a tenth of the wrong labels is left, interpolated; means over seeds."""
    rhos = tuple(np.round(1 - np.geomspace(0.001, 0.97, 44), 5))
    rows: dict[str, dict[str, float]] = {}
    for method in METHODS:
        collected: list[list[float]] = []
        for path, _ in found:
            one = accuracies(path, rho=rhos, method=method)
            if one["memorized"].min() > 0.1:
                continue
            place = int(np.argmax(one["memorized"] <= 0.1))
            before, after = one["memorized"][place - 1], one["memorized"][place]
            share = (before - 0.1) / max(before - after, 1e-12)
            collected.append(
                [
                    float((1 - share) * one[n][place - 1] + share * one[n][place])
                    for n in ("clean", "truth", "held-out", "rho")
                ]
            )
        if collected:
            means = np.mean(collected, axis=0)
            rows[method] = {"clean": means[0], "truth": means[1], "held-out": means[2], "rho": means[3]}
    harness.show("methods at memorized = 0.1", rows)
    return rows


def aurocs(found: list[tuple[Path, Path]]) -> dict[str, dict[str, float]]:
    """AUROC of every score for wrong labels, means over seeds."""
    every: dict[str, list[float]] = {}
    for path, folder in found:
        for factors, name in (("data", "{}"), ("held-out", "{}, held-out factors")):
            options: dict[str, Any] = {"trajectory": str(folder)} if factors == "data" else {}
            result = landscape.run(
                Memorization(per_layer=False, controls=0, resamples=10, factors_on=factors, **options),
                landscape.load(path),
            )
            for score, value in zip(result.score, result.auroc, strict=True):
                if factors == "data" or score.startswith("edit"):
                    every.setdefault(name.format(score), []).append(float(value))
    rows = {}
    for name, values in every.items():
        known = KNOWN.get(name.partition(",")[0])
        rows[name] = {"mean": float(np.mean(values)), "least": min(values), **({"published": known} if known else {})}
    harness.show("AUROC", rows)
    return rows


def texts(device: str) -> dict[str, dict[str, float]]:
    """The rise of charlm's validation loss at which a fifth of the canaries' tokens are still decoded, by method."""
    objective = landscape.load(SAMPLES / "charlm.pt", device=device)
    rows: dict[str, dict[str, float]] = {}
    for method, rhos in SWEEPS.items():
        options: dict[str, Any] = {"bounded_by": "held-out", "max_loss_increase": 1e9}
        result = landscape.run(Edit(rho=rhos, method=method, **options), objective)  # type: ignore[arg-type]
        names = list(result.population)
        match = result.greedy_match[names.index("memorized")]
        rise = result.population_loss[names.index("held-out")] - result.loss_before[names.index("held-out")]
        if match.min() > 0.2:
            continue
        place = int(np.argmax(match <= 0.2))
        share = (match[place - 1] - 0.2) / (match[place - 1] - match[place])
        rows[method] = {
            "rise of the validation loss": float((1 - share) * rise[place - 1] + share * rise[place]),
            "rho": float((1 - share) * result.rho[place - 1] + share * result.rho[place]),
        }
    for row in rows.values():
        row["over kfac's"] = row["rise of the validation loss"] / rows["kfac"]["rise of the validation loss"]
    harness.show("charlm", rows)
    return rows


if __name__ == "__main__":
    trained = cache(nets)
    harness.main(
        "memorization",
        {
            "Factors: a pass on a transformer of width 512, 256 tokens": lambda device, _: collection(device),
            "Factors: the heaviest components": lambda *_: selection(),
        },
        {
            "Memorization: a layer of 11008 x 4096": lambda device, _: large_layer(device),
            "Memorization: scores of samples": lambda device, _: scores(device),
            "Memorization: accuracy after an edit of digits, 10 % wrong labels, mean of 3 seeds": (
                lambda *_: sweep(trained())
            ),
            "Memorization: where a tenth of the wrong labels is left, mean of 3 seeds": lambda *_: methods(trained()),
            "Memorization: AUROC of scores for wrong labels, 3 seeds": lambda *_: aurocs(trained()),
            "Memorization: canaries of charlm down to a fifth of their tokens": lambda device, _: texts(device),
        },
    )
