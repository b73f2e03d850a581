"""The conditions: options with one default and a help each, validated, without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from landscape.conditions import Conditions
from landscape.errors import UsageError
from landscape.fields import Option, described_fields, validate


def test_every_condition_has_a_help_that_is_a_sentence() -> None:
    described = list(described_fields(Conditions, Option))
    assert {field.name for field in described} == {field.name for field in fields(Conditions)}
    for field in described:
        text = field.about.help
        assert text[0].isupper(), field.name
        assert text.endswith("."), field.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"micro_batch": 0},
        {"dtype": "float16"},
        {"hvp": "fast"},
        {"cuda_graphs": "maybe"},
        {"recompute": "maybe"},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        validate(Conditions(**wrong))


def test_the_defaults_are_valid() -> None:
    validate(Conditions())


def test_describing_conditions_does_not_load_torch() -> None:
    code = "import sys, landscape.conditions; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
