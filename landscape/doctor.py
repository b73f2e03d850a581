"""Checks of the things that a measurement relies on: versions, device, second derivatives, and a writable folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from landscape import seeds
from landscape.compute import memory
from landscape.errors import LandscapeError, listing
from landscape.objective import Objective
from landscape.operators import operator
from landscape.storage import provenance
from landscape.storage.atomic_files import replace_file
from landscape.storage.paths import trial_file

SAFE_TORCH = (2, 10)  # the oldest torch without a known way to run code from a file read as data (CVE-2026-24747)
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # of differences, relative to theta: one of them avoids both kinks and rounding
MAX_GAP = 1e-6  # relative, between a second derivative and differences of the gradient, in float64
MAX_USER_GAP = 1e-2  # the same for a user's model: it may compute parts in float32, as normalizations do
CHECKED_SAMPLES = 8
OPTIONAL_PACKAGES = ("transformers", "safetensors", "xarray", "curvlinops-for-pytorch")


@dataclass(frozen=True)
class Check:
    """One check: what it found, and what to do if it did not pass."""

    name: str
    passed: bool
    found: str
    fix: str = ""


def diagnose(folder: Path, make: Callable[[], Objective] | None = None) -> Iterator[Check]:
    """Yields every check in turn; `make` returns the objective of the user's own model, in float64."""
    yield check_versions()
    yield check_device()
    yield check_writing(folder)
    for name, build in MODELS.items():
        yield check_derivatives(name, lambda build=build: _toy_objective(*build()), MAX_GAP)  # type: ignore[misc]
    if make:
        yield check_derivatives("your model", make, MAX_USER_GAP)


def check_versions() -> Check:
    """The installed versions, and whether torch is recent enough to read files as data."""
    installed = {**provenance.environment(), **{name: provenance.version_of(name) for name in OPTIONAL_PACKAGES}}
    found = ", ".join(f"{name} {version}" for name, version in installed.items() if version != "none")
    fix = f"pip install 'torch>={'.'.join(map(str, SAFE_TORCH))}' (CVE-2025-32434, CVE-2026-24747)"
    try:
        numbers = tuple(int(part) for part in installed["torch"].split("+")[0].split(".")[:2])
    except ValueError:  # a local build without a number
        return Check("versions", True, found, fix)
    return Check("versions", numbers >= SAFE_TORCH, found, fix)


def check_device() -> Check:
    """The devices that compute, and how much memory is free."""

    names = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    free = memory.free_bytes(torch.device("cpu")) / 1e9
    words = [f"CPU with {torch.get_num_threads()} threads, {free:.1f} GB free", *names]
    return Check("device", True, "; ".join([*words, "" if names else "no CUDA"]).rstrip("; "))


def check_writing(folder: Path) -> Check:
    """Whether results can be written to the folder: HDF5 is written, renamed over itself, and read again."""

    path = trial_file(folder)
    try:
        with h5py.File("image", "w", driver="core", backing_store=False) as file:
            file["values"] = np.arange(3)
            file.flush()
            image = file.id.get_file_image()
        replace_file(path, image)
        replace_file(path, image)  # over itself, as a second measurement does
        with h5py.File(path, "r") as file:
            passed = file["values"][:].tolist() == [0, 1, 2]
    except (LandscapeError, OSError) as error:
        return Check("writing", False, f"{folder}: {str(error).partition(chr(10))[0]}", "write elsewhere with -o FILE")
    finally:
        path.unlink(missing_ok=True)
    return Check("writing", passed, f"{folder}: HDF5 written, renamed and read", "write elsewhere with -o FILE")


def check_derivatives(name: str, make: Callable[[], Objective], tolerance: float) -> Check:
    """Whether a Hessian-vector product is the difference quotient of the gradient, in float64.

    `make` returns the objective; they may differ by `tolerance`, relative.
    """
    try:
        objective = make().first(CHECKED_SAMPLES)
    except LandscapeError as error:
        return Check(name, False, error.what, error.fix)
    try:
        gap = _relative_gap(objective)
    except LandscapeError as error:
        return Check(f"second derivative of {name}", False, error.what, error.fix)
    return Check(
        f"second derivative of {name}",
        gap <= tolerance,
        f"agrees with differences of the gradient to {gap:.1e}",
        "an operation has a wrong or no second derivative: --dtype float64 here was exact; "
        "replace custom autograd functions, or leave their parameters out with --params",
    )


def _relative_gap(objective: Objective) -> float:
    """The relative difference of H v and (g(theta + h v) - g(theta - h v)) / 2h for a random v, at the best step h."""

    theta = objective.theta
    direction = seeds.normal(theta.numel(), theta, 0, "doctor")
    direction = direction / torch.linalg.vector_norm(direction) * max(1.0, float(torch.linalg.vector_norm(theta)))
    product = operator("hessian", objective).matmat(direction[:, None])[:, 0]

    def difference(step: float) -> Tensor:
        """The difference quotient of the gradient along the direction, `(P,)`."""
        change = step * direction
        return (objective.gradient(theta + change) - objective.gradient(theta - change)) / (2 * step)

    scale = float(torch.linalg.vector_norm(product)) or 1.0
    gaps = [float(torch.linalg.vector_norm(difference(step) - product)) / scale for step in STEPS]
    return min(gaps)


def _toy_objective(model: nn.Module, inputs: Tensor) -> Objective:
    targets = torch.arange(len(inputs)) % 2
    return Objective(model, (inputs, targets), "cross_entropy", device="cpu", dtype="float64")


def _random_inputs(*shape: int) -> Tensor:
    return torch.randn(CHECKED_SAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _linear() -> tuple[Any, Tensor]:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), _random_inputs(4)


def _convolution() -> tuple[Any, Tensor]:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(12, 2)), _random_inputs(1, 4, 4)


def _normalization() -> tuple[Any, Tensor]:
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 2))
    return net, _random_inputs(4)


class _Mean(nn.Module):
    """The mean over a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, C)` to `(N, C)`."""
        return torch.mean(x, dim=1)


def _attention() -> tuple[Any, Tensor]:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu", norm_first=True)
    return nn.Sequential(layer, _Mean(), nn.Linear(4, 2)), _random_inputs(3, 4)


MODELS: dict[str, Callable[[], tuple[Any, Tensor]]] = {
    "linear layers": _linear,
    "convolution": _convolution,
    "normalization": _normalization,
    "attention": _attention,
}


def summary(checks: list[Check]) -> str:
    """One line: "all well", or the names of the checks that failed."""
    failed = [check.name for check in checks if not check.passed]
    return f"failed: {listing(failed)}" if failed else "all well"
