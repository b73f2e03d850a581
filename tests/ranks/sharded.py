"""A script for ranks: hashes of gradient, product, eigenvalues and trace with weights in parts, as JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import sharded_models
import torch
from torch import Tensor

import landscape
from landscape import seeds
from landscape.compute import ranks
from landscape.data.survey import Batches
from landscape.objective.sharded.objective import ShardedObjective


def digest(*tensors: Tensor) -> str:
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()[:16]


def ragged(objective: ShardedObjective) -> Batches:
    """The samples in batches of other sizes, fewer in the last group than there are ranks."""
    assert objective.batches.whole is not None
    pieces = list(objective.batches.whole.cut([2, 5, 6, 11]))
    return Batches(pieces, sha256="", samples=13, largest=5, kept=True)


def measured(objective: ShardedObjective) -> list[str]:
    """The numbers of short measurements, and what their checks say."""
    eig = landscape.run(landscape.Eig(k=1, max_products=8), objective)
    trace = landscape.run(landscape.Trace(max_products=8), objective)
    density = landscape.run(landscape.Density(probes=2, steps=4), objective)
    words = [str(check) for result in (eig, trace, density) for check in result.checks if check.verdict != "holds"]
    rules = digest(*(torch.from_numpy(array) for array in (density.ritz_nodes, density.ritz_weights)))
    return [float(eig.eigenvalues[0]).hex(), float(trace.trace).hex(), rules, *words]


def main(dtype: str, names: list[str]) -> None:
    mine = ranks.join()
    found: dict[str, Any] = {}
    for name in names:
        data = sharded_models.MODELS[name][1]
        objective = ShardedObjective(sharded_models.build(name), data, "cross_entropy", dtype=dtype, micro_batch=3)
        shards = objective.shards
        loss, gradient = objective.value_and_gradient()
        with objective.vectors():
            product = objective.product(seeds.normal_vector(shards.size, objective.theta, 1, "v"))
        whole = [torch.cat(shards.gather(vector, range(len(shards.sizes)))) for vector in (gradient, product)]
        found[name] = [*(digest(vector) for vector in whole), float(loss).hex()]
        if name == names[0]:
            found[name] += measured(objective)
        apart = objective.variant(as_given=True, batches=ragged(objective))
        found[f"{name}, as given"] = [float(part).hex() for part in (apart.value_and_gradient()[0], apart.value())]
        found[f"{name}, held"] = 1.0 if shards.length * mine.size < shards.size + 8 * len(shards.sizes) else 0.0
    if mine.is_first:
        print(json.dumps(found))
    ranks.leave()


main(sys.argv[1], sys.argv[2:])
