"""Checks of what a measurement relies on: versions, device, second derivatives, and a folder that can be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.errors import LandscapeError, listing
from landscape.storage import provenance

if TYPE_CHECKING:
    from torch import Tensor, nn

    from landscape.objective import Objective

FLOOR = (2, 10)  # the oldest torch without a known way to run code from a file read as data (CVE-2026-24747)
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # of the differences, relative to theta: one of them avoids both kinks and rounding
AGREED = 1e-6  # relative, of a second derivative and of differences of the first, in float64
ROUGH = 1e-2  # the same for models that compute parts of themselves in float32, as normalisations do
SAMPLES = 8
OPTIONAL = ("transformers", "safetensors", "xarray", "curvlinops-for-pytorch")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and the remedy if it is not as it must be."""

    name: str
    passed: bool
    found: str
    fix: str = ""


def diagnose(folder: Path, make: Callable[[], Objective] | None = None) -> Iterator[Check]:
    """Every check in turn; `make` gives the objective of the user's own model, in float64."""
    yield versions()
    yield device()
    yield writing(folder)
    for name, build in MODELS.items():
        yield derivatives(name, lambda build=build: _objective(*build()), AGREED)  # type: ignore[misc]
    if make:
        yield derivatives("your model", make, ROUGH)


def versions() -> Check:
    """What is installed, and whether torch is recent enough to read files as data."""
    known = {**provenance.environment(), **{name: provenance.version_of(name) for name in OPTIONAL}}
    found = ", ".join(f"{name} {version}" for name, version in known.items() if version != "none")
    fix = f"pip install 'torch>={'.'.join(map(str, FLOOR))}' (CVE-2025-32434, CVE-2026-24747)"
    try:
        numbers = tuple(int(part) for part in known["torch"].split("+")[0].split(".")[:2])
    except ValueError:  # a build of one's own
        return Check("versions", True, found, fix)
    return Check("versions", numbers >= FLOOR, found, fix)


def device() -> Check:
    """What computes, and how much memory is free."""
    import torch

    from landscape.compute import memory

    names = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    free = memory.free_bytes(torch.device("cpu")) / 1e9
    words = [f"CPU with {torch.get_num_threads()} threads, {free:.1f} GB free", *names]
    return Check("device", True, "; ".join([*words, "" if names else "no CUDA"]).rstrip("; "))


def writing(folder: Path) -> Check:
    """Whether results can be written here: a file as HDF5, renamed in place, and read again."""
    import h5py
    import numpy as np

    from landscape.storage import paths
    from landscape.storage.atomic_files import replace_file

    path = paths.trial_file(folder)
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


def derivatives(name: str, make: Callable[[], Objective], tolerance: float) -> Check:
    """Whether the product with the Hessian is the difference quotient of the gradient, in float64."""
    try:
        objective = make().first(SAMPLES)
    except LandscapeError as error:
        return Check(name, False, error.what, error.fix)
    try:
        gap = _gap(objective)
    except LandscapeError as error:
        return Check(f"second derivative of {name}", False, error.what, error.fix)
    return Check(
        f"second derivative of {name}",
        gap <= tolerance,
        f"agrees with differences of the gradient to {gap:.1e}",
        "an operation has a wrong or no second derivative: --dtype float64 here was exact; "
        "replace custom autograd functions, or leave their parameters out with --params",
    )


def _gap(objective: Objective) -> float:
    """The relative difference of H v and (g(theta + h v) - g(theta - h v)) / 2h for a random v, at the best step h."""
    import torch

    from landscape import seeds
    from landscape.operators import operator

    theta = objective.theta
    direction = seeds.normal(theta.numel(), theta, 0, "doctor")
    direction = direction / torch.linalg.vector_norm(direction) * max(1.0, float(torch.linalg.vector_norm(theta)))
    product = operator("hessian", objective).matmat(direction[:, None])[:, 0]

    def difference(step: float) -> Tensor:
        change = step * direction
        return (objective.gradient(theta + change) - objective.gradient(theta - change)) / (2 * step)

    scale = float(torch.linalg.vector_norm(product)) or 1.0
    gaps = [float(torch.linalg.vector_norm(difference(step) - product)) / scale for step in STEPS]
    return min(gaps)


def _objective(model: nn.Module, inputs: Tensor) -> Objective:
    import torch

    from landscape.objective import Objective

    targets = torch.arange(len(inputs)) % 2
    return Objective(model, (inputs, targets), "cross_entropy", device="cpu", dtype="float64")


def _inputs(*shape: int) -> Tensor:
    import torch

    return torch.randn(SAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def _linear() -> tuple[Any, Tensor]:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), _inputs(4)


def _convolution() -> tuple[Any, Tensor]:
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(12, 2)), _inputs(1, 4, 4)


def _normalisation() -> tuple[Any, Tensor]:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 2)), _inputs(4)


def _attention() -> tuple[Any, Tensor]:
    import torch
    from torch import nn

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.mean(x, dim=1)

    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation="gelu", norm_first=True)
    return nn.Sequential(layer, Mean(), nn.Linear(4, 2)), _inputs(3, 4)


MODELS: dict[str, Callable[[], tuple[Any, Tensor]]] = {
    "linear layers": _linear,
    "convolution": _convolution,
    "normalisation": _normalisation,
    "attention": _attention,
}


def summary(checks: list[Check]) -> str:
    """All well, or what is not."""
    failed = [check.name for check in checks if not check.passed]
    return f"not as it must be: {listing(failed)}" if failed else "all well"
