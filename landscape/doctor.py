"""Checks of the things that a measurement relies on: versions, device, second derivatives, and a writable folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from landscape.compute import memory, ranks
from landscape.compute.inner_products import norm
from landscape.compute.rank_checks import check_ranks, check_same
from landscape.errors import LandscapeError, listing
from landscape.evaluation.per_sample.gradients import sample_gradients
from landscape.evaluation.per_sample.outcomes import require_separate_samples
from landscape.evaluation.points import values_and_gradients
from landscape.evaluation.sweep import Plane, Sweep
from landscape.objective import Objective
from landscape.objective.checks.closing import Measured, begin, check_afterwards
from landscape.plugins.optional import import_problem
from landscape.storage import provenance
from landscape.storage.atomic_files import replace_file
from landscape.storage.paths import trial_file

SAFE_TORCH = (2, 10)  # the oldest torch without a known way to run code from a file read as data (CVE-2026-24747)
MAX_GAP = 1e-6  # relative, between derivatives and differences of small nets in float64
MAX_WAY_GAP = 1e-4  # relative, between two ways to compute the same: a model may compute parts in float32
PERTURBATION = 1e-2  # of the weights, for points beside the checkpoint
CHECKED_SAMPLES = 8
OPTIONAL_PACKAGES = ("transformers", "safetensors", "xarray", "curvlinops-for-pytorch")
OPTIONAL_LIBRARIES = ("torchvision", "torchaudio", "tokenizers", "safetensors", "transformers", "xarray")


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
    yield check_libraries()
    yield check_device()
    yield check_writing(folder)
    for name, build in MODELS.items():
        yield check_derivatives(name, lambda build=build: _toy_objective(*build()))  # type: ignore[misc]
    if make:
        yield from check_model(make)


def diagnose_ranks(make: Callable[[], Objective] | None = None) -> Iterator[Check]:
    """Yields every check of the processes that measure together; `make` returns the objective that each loads."""
    together = ranks.current()
    for finding in check_ranks(together):
        yield Check(*finding)
    versions = ", ".join(f"{name} {version}" for name, version in provenance.environment().items())
    yield Check(*check_same(together, "versions", versions))
    if make:
        objective = make()
        for name, value in objective.identity().items():
            yield Check(*check_same(together, name, str(value)))


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


def check_libraries() -> Check:
    """Whether the optional libraries that are installed can be imported, torchvision beside torch above all."""
    installed = [name for name in OPTIONAL_LIBRARIES if find_spec(name) is not None]
    for name in installed:
        try:
            import_module(name)
        except Exception as error:
            problem = import_problem(error, name, f"pip install {name}")
            return Check("libraries", False, f"{name} {problem.what}", problem.fix)
    return Check("libraries", True, f"{', '.join(installed) or 'none of the optional ones'} can be imported")


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


def check_derivatives(name: str, make: Callable[[], Objective]) -> Check:
    """Whether the derivatives of a small net are those of its loss, by differences in float64."""
    try:
        objective = make().first(CHECKED_SAMPLES)
        measured = Measured(objective, begin(objective))
        errors = measured.errors
        if errors.product is None:
            return Check(f"derivatives of {name}", False, errors.missing, "install another version of torch")
        gap = max(errors.gradient.value, errors.product.value)
    except LandscapeError as error:
        return Check(f"derivatives of {name}", False, error.what, error.fix)
    found = f"they agree with differences to {gap:.1e}"
    return Check(f"derivatives of {name}", gap <= MAX_GAP, found, "install another version of torch")


def check_model(make: Callable[[], Objective]) -> Iterator[Check]:
    """What the checks of a measurement find about the user's model, and whether all ways to pass through it agree."""
    try:
        objective = make()
        before = begin(objective)
    except LandscapeError as error:
        yield Check("your model", False, error.what, error.fix)
        return
    findings = [*objective.checks, *check_afterwards(objective, before, differentiates=True, multiplies=True)]
    for finding in findings:
        passed = finding.verdict in ("holds", "noted")
        fix = finding.fix or "--debug shows the traceback; --params leaves parameters out"
        yield Check(f"{finding.check} of your model", passed, f"{finding.claim}: {finding.found}", fix)
    for name, compare in WAYS.items():
        yield check_way(name, objective.first(CHECKED_SAMPLES), compare)


def check_way(name: str, objective: Objective, compare: Callable[[Objective], float]) -> Check:
    """Whether one way to pass through the model gives the loss, or the gradient, of a plain pass."""
    try:
        gap = compare(objective)
    except LandscapeError as error:
        return Check(name, True, f"not possible for this model: {error.what}")
    fix = "make samples and passes independent of each other; tell us about the model"
    return Check(name, gap <= MAX_WAY_GAP, f"agree with a plain pass to {gap:.1e}", fix)


def _compare_points(objective: Objective) -> float:
    """The gap of losses and gradients at two points that share a pass."""
    thetas = torch.stack([objective.theta, objective.theta * (1 + PERTURBATION)], dim=1)
    losses, gradients = values_and_gradients(objective, thetas)
    pairs = [objective.value_and_gradient(column) for column in thetas.T]
    return max(
        _gap(losses, torch.stack([loss for loss, _ in pairs])),
        _gap(gradients, torch.stack([gradient for _, gradient in pairs], dim=1)),
    )


def _compare_copy(objective: Objective) -> float:
    """The gap of the loss at a point that a moving copy of the model reaches, as surfaces use it."""
    direction = objective.theta * PERTURBATION
    loss = Sweep(objective).evaluate(Plane((direction,)), [[1.0]])[0, 0]
    return _gap(torch.tensor([loss]), objective.value(objective.theta + direction)[None])


def _compare_samples(objective: Objective) -> float:
    """The gap between the gradient and the sum of the samples' own gradients."""
    require_separate_samples(objective)
    rows = [sample_gradients(objective, batch).sum(dim=0) for batch in objective.batches]
    return _gap(torch.stack(rows).sum(dim=0) / objective.count, objective.gradient())


def _gap(one: Tensor, other: Tensor) -> float:
    """The relative difference of two tensors."""
    scale = norm(other) or 1.0
    return norm(one - other) / scale


WAYS: dict[str, Callable[[Objective], float]] = {
    "several points in one pass": _compare_points,
    "a copy that moves": _compare_copy,
    "samples one by one": _compare_samples,
}


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
