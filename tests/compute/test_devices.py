"""A device by name, with its number, or an error that says what is wrong."""

from __future__ import annotations

import pytest
import torch

from landscape.compute.devices import as_device
from landscape.errors import UsageError


def test_a_name_is_its_device() -> None:
    assert as_device("cpu") == torch.device("cpu")


def test_auto_is_cuda_where_there_is_one() -> None:
    assert as_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.gpu
def test_a_gpu_has_the_number_that_its_tensors_have() -> None:
    assert as_device("cuda") == torch.zeros(1, device="cuda").device


@pytest.mark.parametrize("name", ["meta", "nosuch", "cuda:99"])
def test_a_device_that_cannot_compute_here_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"--device {name} is not available: .*\n.*--device cpu"):
        as_device(name)
