"""Exact spectra of samples, by another route than ours: forward over reverse, LAPACK."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from landscape.checkpoints import read
from landscape.zoo import digits, mlp
from oracles.dense import dense_hessian

SAMPLES = Path(__file__).parent.parent.parent / "sample_checkpoints"


@cache
def digits_mlp_hessian() -> np.ndarray:
    """The Hessian `(2950, 2950)` of the sample digits-mlp."""
    checkpoint = read(SAMPLES / "digits-mlp.pt")
    assert checkpoint.spec is not None
    model = mlp(**checkpoint.spec.model_args)
    model.load_state_dict(checkpoint.tensors)
    torch.set_num_threads(2)
    dense = dense_hessian(model, digits(**checkpoint.spec.data_args)).numpy()
    torch.set_num_threads(1)
    return dense


@cache
def digits_mlp_spectrum() -> np.ndarray:
    """Its eigenvalues, ascending."""
    return np.linalg.eigvalsh(digits_mlp_hessian())
