"""The description of itself that a checkpoint carries."""

from __future__ import annotations

import pytest

from landscape.checkpoints import Spec
from landscape.errors import CheckpointError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ('{"schema": 1, "about": {"x": NaN}}', "NaN is no number"),
        ("[" * 200_000, "absurdly large"),
        ('{"schema": 1, "about": {"x": 1e999}}', "1e999 is no number"),
        ('{"schema": 1, "about": ' + '{"a": ' * 60 + "1" + "}" * 61, "lists and tables in one another"),
        ("[]", "not readable"),
        ('{"schema": 9}', "has schema 9, this version reads 1"),
        ('{"schema": 1, "hook": "os.system"}', "unknown entries: hook"),
        ('{"schema": 1, "model": 3}', "wrong type"),
    ],
    ids=["json", "nan", "brackets", "infinite", "deep", "list", "schema", "unknown", "type"],
)
def test_a_malformed_description_is_refused(text: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as refusal:
        Spec.from_json(text, "ckpt.pt")
    assert refusal.value.fix
