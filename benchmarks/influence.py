"""Influence beside retrained nets: the linear datamodeling score, and how self-influence finds wrong labels.

The rows of kronfluence need it beside the extra: `pip install --no-deps kronfluence einops einconv opt_einsum`, without
the torchvision that it asks for and does not use here.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

import landscape
from landscape import Influence, Memorization

try:
    import kronfluence
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
except ImportError:  # its rows are then left out
    kronfluence = None

SAMPLES = Path(__file__).parent.parent / "sample_checkpoints"
sys.path.insert(0, str(SAMPLES))
import train  # noqa: E402

NETS = 30
QUERIES = 50
QUERY = f"held-out:0-{QUERIES - 1}"
RIGHT, TEST = train.NOISY, {"split": "test", "standardized": True}


@cache
def retrained_mlp() -> tuple[np.ndarray, np.ndarray]:
    """The same for nets of the recipe of digits-mlp."""
    inputs, targets = train.concatenate(train.digits())
    queries, labels = (part[:QUERIES] for part in train.concatenate(train.digits("test")))
    generator = torch.Generator().manual_seed(1)
    masks, losses = [], []
    for _ in range(NETS):
        chosen = torch.randperm(len(inputs), generator=generator)[: len(inputs) // 2].sort().values
        model = train.fresh("mlp", sizes=[64, 32, 20, 10], activation="tanh")
        train.fit(model, inputs[chosen], targets[chosen], epochs=40, lr=3e-3, batch_size=64, weight_decay=0.1)
        with torch.no_grad():
            losses.append(functional.cross_entropy(model(queries), labels, reduction="none").double().numpy())
        masks.append(np.isin(np.arange(len(inputs)), chosen.numpy()))
    return np.stack(masks), np.stack(losses)


@cache
def retrained() -> tuple[np.ndarray, np.ndarray]:
    """Which samples each net was trained on `(nets, N)`, and its loss of each query `(nets, K)`."""
    inputs, targets = train.concatenate(train.digits(**RIGHT))
    queries, labels = (part[:QUERIES] for part in train.concatenate(train.digits(**TEST)))
    generator = torch.Generator().manual_seed(1)
    masks, losses = [], []
    for _ in range(NETS):
        chosen = torch.randperm(len(inputs), generator=generator)[: len(inputs) // 2].sort().values
        model = train.fresh("mlp", **train.NOISY_MODEL)
        train.fit(model, inputs[chosen], targets[chosen], epochs=200, lr=1e-3, batch_size=128, weight_decay=0.1)
        with torch.no_grad():
            losses.append(functional.cross_entropy(model(queries), labels, reduction="none").double().numpy())
        masks.append(np.isin(np.arange(len(inputs)), chosen.numpy()))
    return np.stack(masks), np.stack(losses)


def correlations(scores: np.ndarray, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """By query the rank correlation over nets of their losses with the scores `(N, K)` of the samples left out."""
    predicted = (~masks).astype(float) @ scores
    pairs = zip(predicted.T, losses.T, strict=True)
    return np.array([np.corrcoef(rankdata(one), rankdata(other))[0, 1] for one, other in pairs])


def jackknife(statistics: np.ndarray) -> float:
    """The standard error of a number from its values without one net at a time."""
    return float(np.sqrt((len(statistics) - 1) * statistics.var()))


def our_scores(inverse: str, damping: str, sample: str = "digits-noisy") -> tuple[np.ndarray, dict[str, float]]:
    """Scores `(N, K)`, and the residual, the gradients and the seconds that they took."""
    objective = landscape.load(SAMPLES / f"{sample}.pt", device="cpu")
    began = time.process_time()
    result: Any = landscape.run(Influence(query=QUERY, each=True, inverse=inverse, damping=damping), objective)
    row = {"worst residual": float(result.residual.max()), "damping": result.damping}
    row |= {"gradients, as counted": result.cost_gradients, "seconds": time.process_time() - began}
    return result.scores, row


def their_scores(damping: float | None) -> tuple[np.ndarray, dict[str, float]]:
    """kronfluence's EK-FAC scores `(N, K)`; damping None is a tenth of each layer's mean eigenvalue."""
    batches, tests = train.digits(**RIGHT), train.digits(**TEST)
    data = torch.utils.data.TensorDataset(*train.concatenate(batches))
    queries = torch.utils.data.TensorDataset(*(part[:QUERIES] for part in train.concatenate(tests)))
    model = copy.deepcopy(landscape.load(SAMPLES / "digits-noisy.pt", device="cpu").model).eval()
    task = _task()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        analyzer = Analyzer("digits", prepare_model(model, task), task, cpu=True, output_dir=folder, disable_tqdm=True)
        analyzer.fit_all_factors(
            "ekfac", data, per_device_batch_size=256, factor_args=FactorArguments(strategy="ekfac")
        )
        analyzer.compute_pairwise_scores(
            "scores", "ekfac", queries, data, QUERIES, per_device_train_batch_size=256,
            score_args=ScoreArguments(damping_factor=damping),
        )  # fmt: skip
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    return scores.double().numpy().T, {"seconds": time.process_time() - began}


def _task() -> Any:
    """The loss of the sample as kronfluence takes it."""

    class Classification(kronfluence.task.Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            logits = model(batch[0])
            labels = torch.multinomial(logits.detach().softmax(-1), 1)[:, 0] if sample else batch[1]
            return functional.cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    return Classification()


def gradient_products() -> tuple[np.ndarray, dict[str, float]]:
    """g_q'g_t, the scores without any curvature."""
    from landscape.analyses.influence.gradients import inner_products, query_gradients

    objective = landscape.load(SAMPLES / "digits-noisy.pt", device="cpu")
    queries = objective.with_data([(x[:QUERIES], y[:QUERIES]) for x, y in train.digits(**TEST)][:1])
    rows = query_gradients(queries, each=True).rows
    return inner_products(objective, rows.T).numpy()[:, :-1], {}


def lds() -> dict[str, dict[str, float]]:
    """The linear datamodeling score of every inverse, with its jackknife error over the retrained nets."""
    methods: dict[str, Any] = {
        "cg, damping auto": lambda: our_scores("cg", "auto"),
        "ekfac, damping auto": lambda: our_scores("ekfac", "auto"),
        "kfac, damping auto": lambda: our_scores("kfac", "auto"),
    }
    for damping in ("1e-3", "1e-1"):
        methods[f"cg, damping {damping}"] = lambda damping=damping: our_scores("cg", damping)
    if kronfluence is not None:
        methods["kronfluence ekfac, its default"] = lambda: their_scores(1e-8)
        methods["kronfluence ekfac, a tenth of the mean"] = lambda: their_scores(None)
    methods["gradients alone"] = gradient_products
    masks, losses = retrained()
    without = [np.arange(NETS) != net for net in range(NETS)]
    rows, kept = {}, {}
    for name, method in methods.items():
        scores, row = method()
        every = correlations(scores, masks, losses).mean()
        kept[name] = np.array([correlations(scores, masks[rest], losses[rest]).mean() for rest in without])
        rows[name] = {"LDS": float(every), "standard error": jackknife(kept[name]), **row}
        harness.show(name, rows[name])
    peer = kept.get("kronfluence ekfac, a tenth of the mean")
    if peer is not None:
        for name, row in rows.items():
            row["less kronfluence's"] = row["LDS"] - rows["kronfluence ekfac, a tenth of the mean"]["LDS"]
            row["its error"] = jackknife(kept[name] - peer)
    harness.show("LDS", rows)
    return rows


def lds_mlp() -> dict[str, dict[str, float]]:
    """The linear datamodeling score on digits-mlp at several dampings."""
    masks, losses = retrained_mlp()
    without = [np.arange(NETS) != net for net in range(NETS)]
    rows = {}
    for inverse, dampings in (
        ("cg", ("auto", "5e-4", "1e-2", "1e-1")),
        ("ekfac", ("auto", "1e-2")),
        ("kfac", ("auto",)),
    ):
        for damping in dampings:
            scores, row = our_scores(inverse, damping, "digits-mlp")
            each = np.array([correlations(scores, masks[rest], losses[rest]).mean() for rest in without])
            mean = float(correlations(scores, masks, losses).mean())
            rows[f"{inverse}, damping {damping}"] = {"LDS": mean, "standard error": jackknife(each), **row}
    harness.show("LDS", rows)
    return rows


def aurocs() -> dict[str, dict[str, float]]:
    """AUROC for wrong labels of self-influence by both factored inverses, beside the scores of `memorization`."""
    rows: dict[str, dict[str, float]] = {}
    for inverse in ("ekfac", "kfac"):
        for damping in ("auto", "2e-3"):
            objective = landscape.load(SAMPLES / "digits-noisy.pt", device="cpu")
            result: Any = landscape.run(Influence(inverse=inverse, damping=damping), objective)
            rows[f"self-influence, {inverse}, damping {damping}"] = {
                "AUROC": float(result.auroc[0]), "standard error": float(result.auroc_se[0])
            }  # fmt: skip
    objective = landscape.load(SAMPLES / "digits-noisy.pt", device="cpu")
    others: Any = landscape.run(Memorization(per_layer=False, controls=0, resamples=10), objective)
    for name, value, error in zip(others.score, others.auroc, others.auroc_se, strict=True):
        rows[str(name)] = {"AUROC": float(value), "standard error": float(error)}
    harness.show("AUROC", rows)
    return rows


if __name__ == "__main__":
    harness.main(
        "influence",
        {},
        {
            f"Influence: LDS on digits-noisy, {NETS} nets retrained on halves, {QUERIES} queries": lambda *_: lds(),
            f"Influence: LDS on digits-mlp, {NETS} nets retrained on halves, {QUERIES} queries": lambda *_: lds_mlp(),
            "Influence: AUROC of scores for the wrong labels of digits-noisy": lambda *_: aurocs(),
        },
        threads=1,
    )
