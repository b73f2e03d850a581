"""Surfaces beside loss-landscapes and a floor of bare forward passes; adaptive sampling; memory; vectorized points."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Objective, Surface
from landscape.analyses.surfaces.axes import make_frame
from landscape.analyses.surfaces.options import DEFAULT_IGNORE
from landscape.evaluation.directions import treatments
from landscape.evaluation.pass_settings import PassSettings
from landscape.evaluation.sweep import Plane, Sweep
from landscape.zoo import digits, mlp, resnet

RESNET = "ResNet-20 on 64 images of 32 x 32"
SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
SIDES = {"digits-mlp": 21, "digits-noisy": 21, "digits-resnet": 7, "charlm": 3, RESNET: 5}  # points along each axis


def objective_of(name: str, device: str) -> Objective:
    if name == RESNET:
        torch.manual_seed(0)
        images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
        net = biased(resnet(blocks=3, width=16, channels=3))
        return Objective(net, [(images, labels)], "cross_entropy", device=device)
    return landscape.load(SAMPLES / f"{name}.pt", device=device)


def biased(net: nn.Module) -> nn.Module:
    """The net with random biases after BatchNorm: loss-landscapes divides by their norm."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
    return net


def stacked(objective: Objective) -> tuple[Tensor, Tensor]:
    batches = list(objective.batches)
    return torch.cat([batch.inputs for batch in batches]), torch.cat([batch.targets for batch in batches])


def mean_loss(output: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(output.flatten(0, -2), targets.flatten())


# -- speed ---------------------------------------------------------------------------------------------------------


def passes(objective: Objective, *, scored: bool) -> tuple[Callable[[], Any], str]:
    """The fastest bare pass over the data in inference mode, over sizes of batches and memory formats."""
    inputs, targets = stacked(objective)
    model = copy.deepcopy(objective.model).to(objective.device).eval()
    formats = [torch.contiguous_format] + ([torch.channels_last] if inputs.ndim == 4 else [])
    jobs: dict[str, Callable[[], Any]] = {}
    for layout in formats:
        net = copy.deepcopy(model).to(memory_format=layout)
        for size in sorted({32, 64, 128, 256, 512, 1024, len(inputs)}):
            if size > len(inputs):
                continue
            pieces = [(x.contiguous(memory_format=layout) if x.ndim == 4 else x, y) for x, y in
                      zip(inputs.split(size), targets.split(size), strict=True)]  # fmt: skip

            def job(net: nn.Module = net, pieces: list[tuple[Tensor, Tensor]] = pieces) -> Any:
                total = wrong = 0.0
                with torch.inference_mode():
                    for x, y in pieces:
                        output = net(x)
                        if scored:
                            total = (
                                total
                                + functional.cross_entropy(output.flatten(0, -2), y.flatten(), reduction="sum").double()
                            )
                            wrong = wrong + (output.argmax(-1) != y).sum()
                return (float(total), float(wrong)) if scored else float(output.flatten()[0])

            jobs[f"{size}, {'channels last' if layout is torch.channels_last else 'contiguous'}"] = job
    times = harness.interleaved(jobs, 3, objective.device.type)
    best = min(times, key=lambda name: times[name])
    return jobs[best], best


def of_loss_landscapes(objective: Objective, side: int) -> Callable[[], Any]:
    from loss_landscapes import random_plane
    from loss_landscapes.metrics import Loss

    inputs, targets = stacked(objective)
    model = copy.deepcopy(objective.model).to(objective.device).eval()
    return lambda: random_plane(model, Loss(mean_loss, inputs, targets), steps=side, deepcopy_model=True)


def convolutional(device: str) -> Objective:
    """A plain convolutional net of 19,354 parameters."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 48)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if inputs == 16 else []
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))
    return Objective(biased(net), digits(images=True), "cross_entropy", device=device)


def speed(device: str) -> dict[str, Any]:
    """A point by itself, beside the floor and loss-landscapes, which gets all data as one batch."""
    rows = {}
    for name, side in {**SIDES, "convolutional net": 7}.items():
        objective = convolutional(device) if name not in SIDES else objective_of(name, device)
        bare, _ = passes(objective, scored=False)
        scored, how = passes(objective, scored=True)
        sweep, plane = Sweep(objective), random_plane_of(objective)
        sweep.choose_settings(plane)
        points = [(a, b) for a in np.linspace(-1, 1, side) for b in np.linspace(-1, 1, side)]
        jobs = {
            "points": lambda sweep=sweep, plane=plane, points=points: sweep.evaluate(plane, points),
            "floor": lambda scored=scored, points=points: [scored() for _ in points],
            "bare": lambda bare=bare, points=points: [bare() for _ in points],
            "peer": of_loss_landscapes(objective, side),
        }
        seconds = harness.interleaved(jobs, 4, device)
        rows[name] = {
            "ms per point": 1e3 * seconds["points"] / len(points),
            "points / floor": seconds["points"] / seconds["floor"],
            "points / passes without loss": seconds["points"] / seconds["bare"],
            "loss-landscapes / points": seconds["peer"] / seconds["points"],
        }
        harness.show(f"{name} (floor: {how}; {sweep.settings})", rows[name])
    return rows


def whole(device: str) -> dict[str, Any]:
    """A run of 51 x 51 points, with its trial, products and all, beside as many passes and loss-landscapes."""
    rows = {}
    for name in ("digits-mlp", "digits-noisy", "digits-resnet", RESNET):
        objective = objective_of(name, device)
        scored, _ = passes(objective, scored=True)
        jobs = {
            "run": lambda objective=objective: landscape.run(Surface(), objective),
            "floor": lambda scored=scored: [scored() for _ in range(51**2)],
            "peer": of_loss_landscapes(objective, 51),
        }
        landscape.run(Surface(grid="3", adaptive=True), objective)  # what is imported once
        seconds = {}
        for job, work in jobs.items():
            began = time.perf_counter()
            work()
            seconds[job] = time.perf_counter() - began
        rows[name] = {
            "seconds": seconds["run"],
            "run / floor": seconds["run"] / seconds["floor"],
            "loss-landscapes / run": seconds["peer"] / seconds["run"],
        }
        harness.show(name, rows[name])
    return rows


def random_plane_of(objective: Objective) -> Plane:
    generator = torch.Generator().manual_seed(0)
    draw = lambda: 0.01 * torch.randn(objective.space.size, generator=generator).to(objective.theta)  # noqa: E731
    return Plane((draw(), draw()))


# -- adaptive sampling ---------------------------------------------------------------------------------------------


def adaptive(device: str) -> dict[str, Any]:
    """51 x 51 surfaces: share of evaluations, worst error over the range, and how often the estimate holds."""
    rows = {}
    for name in ("digits-mlp", "digits-noisy", "digits-resnet", "digits-resnet-noskip"):
        objective = objective_of(name, device)
        for seed in (0, 1):
            seconds, results = [], []
            for refine in (False, True):
                began = time.perf_counter()
                results.append(landscape.run(Surface(adaptive=refine, seed=seed), objective))
                seconds.append(time.perf_counter() - began)
            whole, some = results
            errors, missing = np.abs(some.loss - whole.loss), some.status == 0
            rows[f"{name}, seed {seed}"] = {
                "evaluated %": 100 * some.evaluations / some.points,
                "worst error, % of range": 100 * errors.max() / np.ptp(whole.loss),
                "worst error, % of value": 100 * (errors / whole.loss).max(),
                "within estimate %": 100 * np.mean(errors[missing] <= some.error[missing]),
                "time / whole surface": seconds[1] / seconds[0],
            }
            harness.show(f"{name}, seed {seed}", rows[f"{name}, seed {seed}"])
    return rows


# -- memory --------------------------------------------------------------------------------------------------------


def memory(device: str) -> dict[str, Any]:
    """Peak beyond a forward pass, in parameter vectors: of the points alone, and of a run with products."""
    batches = [(x.to(device), y.to(device)) for x, y in digits("test")]
    objective = Objective(mlp([64, 1024, 1024, 10], "relu"), batches, "cross_entropy", device=device)
    size = objective.theta.nbytes
    forward = harness.peak_bytes(lambda: passes_once(objective))
    rows = {}
    for name, job in {
        "directions and points": lambda: points_once(objective),
        "run": lambda: landscape.run(Surface(grid="3"), objective),
    }.items():
        rows[name] = {"vectors beyond a forward pass": (harness.peak_bytes(job) - forward) / size}
    harness.show("memory", rows)
    return rows


def passes_once(objective: Objective) -> None:
    with torch.no_grad():
        for batch in objective.batches:
            objective.model(batch.inputs)


def points_once(objective: Objective) -> None:
    frame = make_frame(Surface(grid="3"), objective, treatments(objective, "filter", DEFAULT_IGNORE))
    Sweep(objective).evaluate(frame.plane, [(0.0, 0.0), (0.5, 0.5)])


# -- vectorized points ---------------------------------------------------------------------------------------------


def vectorized(device: str) -> dict[str, Any]:
    """Time of 32 points in one vectorized pass over that of a loop."""
    rows = {}
    for name in ("digits-mlp", "digits-noisy", "digits-resnet"):
        objective, points = objective_of(name, device), [(a, 0.1) for a in np.linspace(-1, 1, 32)]
        plane, loop, together = random_plane_of(objective), Sweep(objective), Sweep(objective)
        loop.use_settings(PassSettings(objective.batches.samples))
        together.use_settings(PassSettings(objective.batches.samples, points=32))
        jobs = {
            "loop": lambda sweep=loop, plane=plane, points=points: sweep.evaluate(plane, points),
            "together": lambda sweep=together, plane=plane, points=points: sweep.evaluate(plane, points),
        }
        seconds = harness.interleaved(jobs, 4, device)
        rows[name] = {"vectorized / loop": seconds["together"] / seconds["loop"]}
    harness.show("vectorized points", rows)
    return rows


if __name__ == "__main__":
    harness.main(
        "surface",
        {
            "Surfaces: a point": lambda device, _: speed(device),
            "Surfaces: memory": lambda device, _: memory(device),
            "Surfaces: 32 points in one vectorized pass": lambda device, _: vectorized(device),
        },
        {
            "Surfaces: a run of 51 x 51 points": lambda device, _: whole(device),
            "Surfaces: adaptive sampling of 51 x 51 points, --tol 0.01": lambda device, _: adaptive(device),
        },
    )
