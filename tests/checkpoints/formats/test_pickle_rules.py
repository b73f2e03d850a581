"""Calls whose result is data give what Python and torch would have made of them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from landscape.checkpoints.formats.detection import describe
from landscape.checkpoints.formats.pickle_values import OpaqueValue
from landscape.checkpoints.formats.tensor_refs import TensorRef
from landscape.errors import CheckpointError


class Own(torch.Tensor):
    """A class of tensors whose numbers may mean something else than torch's."""


def tree_of(value: object, path: Path) -> object:
    torch.save({"x": value}, path)
    return describe(path).tree["x"]


def test_a_parameter_and_a_tensor_with_attributes_are_their_tensors(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "kept beside it"  # type: ignore[attr-defined]
    assert isinstance(tree_of(parameter, tmp_path / "a.pt"), TensorRef)


def test_a_tensor_of_an_unknown_class_is_a_placeholder(tmp_path: Path) -> None:
    value = tree_of(torch.ones(2).as_subclass(Own), tmp_path / "a.pt")
    assert isinstance(value, OpaqueValue)
    assert value.kind.endswith("test_pickle_rules.Own")


def test_an_ordered_dictionary_with_attributes_is_a_dictionary(tmp_path: Path) -> None:
    value = OrderedDict(a=1)
    value._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    assert tree_of(value, tmp_path / "a.pt") == {"a": 1}


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_objects_of_every_protocol_are_placeholders(protocol: int, tmp_path: Path) -> None:
    torch.save({"x": Point(), "w": torch.ones(1)}, tmp_path / "a.pt", pickle_protocol=protocol)
    assert describe(tmp_path / "a.pt").tree["x"].kind.endswith("Point")


def test_bytes_that_are_written_in_another_encoding_are_damage(tmp_path: Path) -> None:
    class Odd:
        def __reduce__(self) -> tuple[object, ...]:
            import _codecs

            return (_codecs.encode, ("a", "rot13"))

    torch.save({"x": Odd()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="only bytes are written as text"):
        describe(tmp_path / "a.pt")


class Point:
    def __init__(self) -> None:
        self.x = 1
