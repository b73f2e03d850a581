"""The bits of each layer as JSON that a quantizer reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analyses.sensitivity.layers_to_change import layers_to_change
from landscape.storage.atomic_files import replace_file

if TYPE_CHECKING:
    from landscape.analyses.sensitivity.sensitivity import Sensitivity
    from landscape.analyses.sensitivity.sensitivity_result import SensitivityResult
    from landscape.objective import Objective

SCHEME = "symmetric, round to nearest, scale = largest |weight| / (2^(bits-1) - 1)"


def write_allocation(analysis: Sensitivity, result: SensitivityResult, objective: Objective, path: Path) -> None:
    """Writes the bits by layer (`allocation`) and by tensor (`tensors`), and how weights were rounded.

    Raises OutputError if the file cannot be written.
    """
    assert result.layer is not None
    assert result.layer_bits is not None
    bits = {str(name): int(number) for name, number in zip(result.layer, result.layer_bits, strict=True)}
    layers = layers_to_change(analysis, objective)
    document = {
        "landscape": "allocation",
        "allocation": bits,
        "tensors": {name: bits[layer.name] for layer in layers for name in layer.names},
        "mean_bits": result.allocation_bits,
        "budget": analysis.budget,
        "granularity": analysis.granularity,
        "scheme": SCHEME,
        "loss_change": result.allocation_change,
        "loss_change_se": result.allocation_change_se,
        "weights_sha256": objective.weights_sha256,
    }
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
