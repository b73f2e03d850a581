"""The local learning coefficient: coverage of known values, and the cost beside devinterp's SGLD on the same nets."""

from __future__ import annotations

import contextlib
import copy
import math
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import harness
import llc_cases
import numpy as np
import torch
from llc_cases import Case, ClosedForm
from torch import nn

import landscape
from landscape import Llc, Objective
from landscape.algorithms.sampling.convergence import effective_draws, r_hat
from landscape.analyses.llc import llc_measurement

try:
    from devinterp.optim.sgmcmc import SGMCMC
except ImportError:  # its rows are then left out
    SGMCMC = None

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
RUNS = 100  # of each case: a share of .95 is then known to .02
NETS = {"digits-mlp": 100.0, "digits-noisy": 1000.0}  # with gamma, at which both tools' chains settle in a minute
BATCH, CHAINS, DRAWS = 128, 4, 1000  # of devinterp: its examples' sizes, with five times its default number of draws
RATES = 1e-5, 1e-4, 1e-3  # its learning rates: there is no rule, users try some

CASES: dict[str, Callable[[], Case]] = {
    "regression of 5, d/2": lambda: llc_cases.linear_regression(5, 50.0, 10.0),
    "w^4, 1/4": lambda: llc_cases.powers((2,), 20.0, 1.0),
    "w^2 + w^4 + w^6, 11/12": lambda: llc_cases.powers((1, 2, 3), 60.0, 1.0),
    "reduced rank 3-2-3, rank 0": lambda: llc_cases.reduced_rank(3, 3, 2, 0, 60.0, 1.0),
    "reduced rank 4-2-3, rank 0": lambda: llc_cases.reduced_rank(4, 3, 2, 0, 60.0, 1.0),
}


def coverage(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """How many of the conclusive runs of each case hold its exact value in their interval; all cases seed by seed.

    Ctrl-C ends it with the runs that are done.
    """
    del device, repeats
    cases = {name: build() for name, build in CASES.items()}
    found: dict[str, list[Any]] = {name: [] for name in cases}
    with contextlib.suppress(KeyboardInterrupt):
        for seed in range(RUNS):
            for name, case in cases.items():
                found[name].append(run(case, seed))
            print(f"{seed + 1} runs of each case", flush=True)
    return {name: summary(case, found[name]) for name, case in cases.items()}


def summary(case: Case, results: list[Any]) -> dict[str, float]:
    """The shares and sizes of errors of one case."""
    sure = [result for result in results if result.trouble() is None]
    inside = [result.lower <= case.exact <= result.upper for result in sure]
    errors = [(result.llc - case.exact) / result.llc_se for result in sure]
    return {
        "limit": case.limit,
        "exact": case.exact,
        "mean": statistics.mean(result.llc for result in sure),
        "runs": len(results),
        "conclusive": len(sure),
        "intervals that hold the exact value": sum(inside),
        "intervals that hold the limit": sum(r.lower <= case.limit <= r.upper for r in sure),
        "root mean square of error / standard error": math.sqrt(statistics.mean(e * e for e in errors)),
        "relative standard error %": 100 * statistics.median(r.llc_se / r.llc for r in sure),
        "largest R-hat": max(max(r.r_hat, r.distance_r_hat) for r in sure),
        "gradients": statistics.median(r.cost_gradients for r in results),
    }


def run(case: Case, seed: int) -> Any:
    """One measurement of a case, by its closed form."""
    with mock.patch.object(llc_measurement, "LocalPosterior", partial(ClosedForm, case)):
        return landscape.run(Llc(nbeta=case.nbeta, gamma=case.gamma, seed=seed), case.objective)


def beside_devinterp(device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Both tools at the same n beta and gamma: the estimate, its errors, and gradients over the data."""
    del repeats
    table: dict[str, dict[str, float]] = {}
    for name, gamma in NETS.items():
        objective = landscape.load(SAMPLES / f"{name}.pt", device=device)
        began = time.process_time()
        result = landscape.run(Llc(gamma=gamma), objective)
        seconds = time.process_time() - began
        table[f"{name}, landscape"] = {
            "llc": result.llc,
            "standard error": result.llc_se,
            "R-hat": result.r_hat,
            "R-hat of distances": result.distance_r_hat,
            "effective draws": result.effective_draws,
            "gradients": result.cost_gradients,
            "seconds": seconds,
            "ms per effective draw": 1000 * seconds / result.effective_draws,
        }
        for rate in RATES if SGMCMC is not None else ():
            table[f"{name}, devinterp at {rate:g}"] = devinterp_row(objective, result, gamma, rate)
    return table


def devinterp_row(objective: Objective, ours: Any, gamma: float, rate: float) -> dict[str, float]:
    """Its SGLD with its estimate, the mean of all steps' batch losses; the R-hat is computed here from its losses."""
    began = time.process_time()
    losses = np.stack([devinterp_chain(objective, ours.nbeta, gamma, rate, chain) for chain in range(CHAINS)])
    seconds = time.process_time() - began
    excess = ours.nbeta * (losses - ours.loss)
    finite = bool(np.isfinite(excess).all())
    effective = effective_draws(excess) if finite else math.nan
    return {
        "llc": float(excess.mean()),
        "its std of chains": float(excess.mean(axis=1).std()),
        "R-hat": r_hat(excess) if finite else math.nan,
        "off by standard errors of ours": (float(excess.mean()) - ours.llc) / ours.llc_se,
        "effective draws": effective,
        "gradients": CHAINS * DRAWS * BATCH / objective.batches.samples,
        "seconds": seconds,
        "ms per effective draw": 1000 * seconds / effective,
    }


def devinterp_chain(objective: Objective, nbeta: float, gamma: float, rate: float, chain: int) -> np.ndarray:
    """The batch losses of one of its chains."""
    model = copy.deepcopy(objective.model).eval()
    whole, generator = objective.batches.whole, torch.Generator().manual_seed(chain)
    assert whole is not None
    torch.manual_seed(chain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = SGMCMC.sgld(model.parameters(), lr=rate, nbeta=nbeta, localization=gamma)
    losses = []
    for _ in range(DRAWS):
        places = torch.randint(0, objective.batches.samples, (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(whole.inputs[places]), whole.targets[places])
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    return np.array(losses)


if __name__ == "__main__":
    harness.main(
        "llc",
        {"the local learning coefficient, beside devinterp": beside_devinterp},
        {"coverage of intervals": coverage},
        threads=1,
    )
