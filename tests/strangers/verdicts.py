"""What landscape makes of a stranger: every analysis, compared with the stranger's own answer."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch

import landscape
from strangers.answers import Answer
from strangers.comparisons import BITS, COMPARISONS, NBETA, RHO, AnswerMissing
from strangers.posterior import localization
from strangers.stranger import Stranger

torch.set_num_threads(1)

ROUNDING = {"float32": 1e-3, "float64": 1e-6}  # of a number, beside its own stated error

NUMBER_STANDS = "the coefficient is negative"  # what makes a learning coefficient no measure, and yet is its number

ANALYSES: dict[str, landscape.Eig | Any] = {
    "eig": landscape.Eig(k=2),
    "density": landscape.Density(probes=4, steps=40),
    "trace": landscape.Trace(rtol=0.1),
    "diagonal": landscape.Diagonal(rtol=0.2),
    "sharpness": landscape.Sharpness(rho=RHO, adaptive="none", norm="l2", starts=2, steps=10, draws=12),
    "flatness": landscape.Flatness(rho=RHO, starts=2, steps=6),
    "surface": landscape.Surface(grid=3, axes="gradient", range=0.1, trial=False),
    "measures": landscape.Measures(rtol=0.3, draws=2),
    "direction": landscape.Direction(lr=0.1),
    "memorization": landscape.Memorization(bands=(0.5,), per_layer=False, controls=0, resamples=10, score_rho=0.9),
    "critical": landscape.Critical(passes=20),
    "sensitivity": landscape.Sensitivity(
        bits=(BITS,), granularity="tensor", kinds=("weight", "embedding", "position", "norm", "bias"), sample_groups=2
    ),
    "influence": landscape.Influence(query="samples:0", operator="hessian", tol=1e-4),
}
SLOW: dict[str, Any] = {"llc": landscape.Llc(draws=1000, rtol=0.2, nbeta=NBETA)}  # tried on some of the strangers


def analysis_for(name: str, answer: Answer, parameters: int) -> Any:
    """The analysis of that name; damping and localization make it one that has an answer at any checkpoint."""
    if name == "eig" and parameters == 1:
        return landscape.Eig(k=1)
    analysis = {**ANALYSES, **SLOW}[name]
    if answer.stranger.expect == "refused":
        return replace(analysis, draws=64) if name == "llc" else analysis
    if name == "influence":
        return replace(analysis, damping=repr(answer.damping))
    return replace(analysis, gamma=localization(answer, NBETA)) if name == "llc" else analysis


@dataclass(frozen=True)
class Verdict:
    """`right`, `refused`, `inconclusive`, `wrong` or `crashed`, with the numbers or the words behind it."""

    word: str
    why: str = ""


def verdicts(stranger: Stranger) -> dict[str, Verdict]:
    """The verdict on each analysis of the stranger."""
    answer = Answer(stranger)
    return {name: verdict(stranger, answer, name) for name in ANALYSES}


def verdict(stranger: Stranger, answer: Answer, name: str) -> Verdict:
    """The verdict on one analysis, with the stranger built anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model, batches, loss = stranger.build()
            objective = landscape.Objective(model, batches, loss, device="cpu", **stranger.options)
            result = landscape.run(analysis_for(name, answer, objective.space.size), objective)
        except landscape.LandscapeError as error:
            crashed = "internal error" in str(error) or not error.what
            return Verdict("crashed" if crashed else "refused", error.what)
        except Exception as error:  # an exception that is no LandscapeError is what this looks for
            return Verdict("crashed", f"{type(error).__name__}: {error}")
        trouble = result.trouble()
        if trouble and NUMBER_STANDS not in trouble.why:
            return Verdict("inconclusive", trouble.why)
        compared = _compared(stranger, answer, name, result, [*objective.notes, *result.notes, *result.remarks()])
        return Verdict("inconclusive", trouble.why) if trouble and compared.word == "right" else compared


def _compared(stranger: Stranger, answer: Answer, name: str, result: Any, said: list[str]) -> Verdict:
    """The verdict on a result that claims to be conclusive."""
    rounding = stranger.rounding or ROUNDING[stranger.options.get("dtype", "float32")]
    try:
        wrong = [
            f"{quantity} {measured:.6g} for {exact:.6g}"
            for quantity, measured, exact, allowed in COMPARISONS[name](answer, result, rounding)
            if not abs(measured - exact) <= allowed
        ]
    except AnswerMissing as error:
        wrong = [str(error)]
    if wrong:
        return Verdict("wrong", "; ".join(wrong))
    if stranger.says and not re.search(stranger.says, "\n".join(said)):
        return Verdict("wrong", f"nothing said of {stranger.says!r}, only {said}")
    return Verdict("right")
