"""curvlinops' own test cases through landscape's operators, against dense matrices by torch.func and curvlinops itself.

    PYTHONPATH=CHECKOUT python benchmarks/curvlinops_cases.py

CHECKOUT is a copy of curvlinops' repository, whose `test` package holds the cases; nothing of it is kept here.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from curvlinops import EFLinearOperator, GGNLinearOperator, HessianLinearOperator
from curvlinops.examples.functorch import functorch_empirical_fisher, functorch_ggn, functorch_hessian
from curvlinops.kfac_utils import KFACType
from test import cases, kfac_cases
from test.conftest import initialize_case
from torch import Tensor, nn

from landscape import Objective
from landscape.errors import LandscapeError
from landscape.evaluation.layers.factor_collector import FactorSettings
from landscape.evaluation.layers.kfac import assemble_factors, stream_factors
from landscape.network.linear_maps import linear_maps
from landscape.operators import operator

RTOL = 1e-8  # in float64
LABELS = 2000  # drawn for each term
MAX_DEVIATIONS = 4.5  # standard errors of one quadratic form
DENSE = {"hessian": functorch_hessian, "ggn": functorch_ggn, "empirical-fisher": functorch_empirical_fisher}
THEIRS = {"hessian": HessianLinearOperator, "ggn": GGNLinearOperator, "empirical-fisher": EFLinearOperator}


class Called(nn.Module):
    """A function of parameters and inputs as a module."""

    def __init__(self, function: Callable[..., Tensor], params: dict[str, Tensor]) -> None:
        super().__init__()
        self.function = function
        for name, value in params.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(dict(self.named_parameters()), x)


@dataclass(frozen=True)
class Case:
    """A test case in float64: what curvlinops measures, and the same for landscape."""

    name: str
    function: Any
    loss: nn.Module
    params: dict[str, Tensor]
    data: list[Any]
    batch_size: Any

    @property
    def samples(self) -> int:
        return sum(len(y) for _, y in self.data)

    @property
    def model(self) -> nn.Module:
        if not isinstance(self.function, nn.Module):
            return Called(self.function, self.params)
        self.function.load_state_dict(self.params, strict=False)
        return self.function

    def objective(self) -> Objective:
        return Objective(self.model, self.data, self.loss, dtype="float64")

    def scale(self, objective: Objective) -> float:
        """What landscape's matrix is multiplied by: curvlinops leaves a sum undivided."""
        return objective.count if self.loss.reduction == "sum" else 1.0


def every_case() -> Iterator[Case]:
    groups = ("CASES", "CNN_CASES"), ("KFAC_EXACT_CASES", "KFAC_WEIGHT_SHARING_EXACT_CASES")
    groups = (*((cases, n) for n in groups[0]), *((kfac_cases, n) for n in groups[1]))
    groups += tuple(
        (kfac_cases, n)
        for n in ("KFAC_EXACT_ONE_DATUM_CASES", "SINGLE_LAYER_CASES", "SINGLE_LAYER_WEIGHT_SHARING_CASES")
    )
    for module, group in groups:
        for number, case in enumerate(c for c in getattr(module, group) if c["device"].type == "cpu"):
            yield from _settings(f"{group.removesuffix('_CASES').lower()}-{number}", case)


def _settings(name: str, case: dict[str, Any]) -> Iterator[Case]:
    """The case, or for data by the kind of weight sharing the case of each kind."""
    kinds: Iterable[Any] = (None,)
    if isinstance(case["data"](), dict):
        kinds = (KFACType.EXPAND, KFACType.REDUCE)
    for kind in kinds:
        random.seed(0)
        function, loss, params, data, batch_size = initialize_case(case)
        if kind is not None:
            function.setting, data = kind, data[kind]
            params = {key: parameter.data for key, parameter in function.named_parameters()}
        wide = [(_double(x), _double(y)) for x, y in data]
        function = function.double() if isinstance(function, nn.Module) else function
        params = {key: value.double() for key, value in params.items()}
        label = f"{name}{'' if kind is None else '-' + str(kind)}-{type(loss).__name__}-{loss.reduction}"
        yield Case(label, function, loss, params, wide, batch_size)


def _double(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.double() if tree.is_floating_point() else tree
    return type(tree)({key: _double(value) for key, value in tree.items()})


def relative_gap(one: Tensor, other: Tensor) -> float:
    size = float(torch.linalg.matrix_norm(other))
    return float(torch.linalg.matrix_norm(one - other)) / size if size else float(torch.linalg.matrix_norm(one))


def compare(case: Case, name: str) -> tuple[float, float]:
    """The relative gaps to the dense matrix by torch.func, and to curvlinops' operator."""
    objective = case.objective()
    ours = operator(name, objective).to_dense() * case.scale(objective)
    arguments = case.function, case.loss, case.params, case.data
    theirs = THEIRS[name](*arguments, batch_size_fn=case.batch_size)
    columns = torch.eye(ours.shape[0], dtype=ours.dtype)
    return relative_gap(ours, DENSE[name](*arguments, input_key="x").detach()), relative_gap(ours, theirs @ columns)


def fisher_deviation(case: Case) -> float:
    """How many standard errors v'Fv of drawn labels lies from v'Gv, with the Gauss-Newton matrix G."""
    objective = case.objective()
    vector = torch.randn(objective.space.size, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn: Any = operator("fisher", objective, labels=LABELS)
    value = float((vector.T @ drawn.matmat(vector)).item())
    expected = float((vector.T @ operator("ggn", objective).matmat(vector)).item())
    error = float(drawn.label_variances(vector)[0]) ** 0.5
    return abs(value - expected) / error if error else float(not np.isclose(value, expected))


def by_sample_gap(case: Case) -> float:
    """The relative gap of landscape's empirical Fisher to the sum of g g', with g of one sample's summed loss."""
    objective = case.objective()
    samples = (one for batch in objective.batches for one in batch.split(1))
    rows = torch.stack([objective.batch_gradient(objective.theta, one)[1] for one in samples])
    return relative_gap(operator("empirical-fisher", objective).to_dense(), rows.T @ rows / objective.count)


def print_nondeterministic() -> None:
    """What landscape makes of the cases that curvlinops' check of determinism is to find."""
    names = "dropout", "batch statistics of shuffled batches", "a shuffled loader that drops the last batch"
    for name, case in zip(names, cases.NON_DETERMINISTIC_CASES_NO_DEVICE, strict=True):
        function, loss, _, data, _ = initialize_case({**case, "device": "cpu"})
        try:
            Objective(function, data, loss)
            print(f"{name}: measured in eval mode")
        except LandscapeError as error:
            print(f"{name}: refused: {error}")


def kfac_gap(case: Case) -> float:
    """The largest relative gap between G (x) A of a layer and its block of the Gauss-Newton matrix."""
    objective = case.objective()
    layers, _ = linear_maps(objective.model, objective.space.names)
    *_, (_, _, sums) = stream_factors(objective, layers, FactorSettings("exact"), {})
    matrix = operator("ggn", objective).to_dense()
    places = objective.space.unflatten(torch.arange(objective.space.size))
    gaps = []
    for layer in layers:
        factor, place = assemble_factors(layers, sums)[layer.name], places[layer.parameter].flatten()
        product = torch.kron(factor.g, factor.a) * float(factor.tokens) / objective.count
        gaps.append(relative_gap(product, matrix[place][:, place]))
    return max(gaps)


def main() -> int:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    failures = dict.fromkeys([*DENSE, "empirical-fisher by sample", "fisher", "kfac"], 0)
    total = 0
    for case in every_case():
        total += 1
        line = []
        for name in DENSE:
            try:
                dense, theirs = compare(case, name)
                failures[name] += dense > RTOL
                line.append(f"{name} {dense:.0e} ({theirs:.0e})")
            except LandscapeError as error:
                failures[name] += 1
                line.append(f"{name} refused: {error.what}")
        if dense > RTOL:  # the empirical Fisher's, whose terms are others
            gap = by_sample_gap(case)
            failures["empirical-fisher by sample"] += gap > RTOL
            line.append(f"by sample {gap:.0e}")
        deviation = fisher_deviation(case)
        failures["fisher"] += deviation > MAX_DEVIATIONS
        line.append(f"fisher {deviation:.1f} sigma")
        if case.name.startswith(("kfac", "single")) and "REDUCE" not in case.name:  # where K-FAC of rows is exact
            gap = kfac_gap(case)
            failures["kfac"] += gap > RTOL
            line.append(f"kfac {gap:.0e}")
        print(f"{case.name:70s} {', '.join(line)}", flush=True)
    print(f"{total} cases; not within {RTOL:g} of the dense matrix, or {MAX_DEVIATIONS} standard errors: {failures}")
    print_nondeterministic()
    return 0


if __name__ == "__main__":
    sys.exit(main())
