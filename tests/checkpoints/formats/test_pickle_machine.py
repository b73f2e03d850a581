"""Names in a pickle are data, or are refused; nothing is called."""

from __future__ import annotations

import io

import pytest

from landscape.checkpoints.formats.pickle_machine import RefusedGlobalError
from landscape.checkpoints.formats.pickled import interpret_pickle

PLENTY = 1 << 24


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "__main__.Config"])
def test_a_name_that_is_no_data_is_refused_where_it_stands(name: str) -> None:
    module, _, member = name.rpartition(".")
    for use in (b".", b")R.", b")\x81.", b")}\x92."):
        with pytest.raises(RefusedGlobalError, match=name):
            interpret_pickle(io.BytesIO(b"\x80\x04c" + module.encode() + b"\n" + member.encode() + b"\n" + use), PLENTY)


def test_a_kind_that_is_no_value_is_not_called() -> None:
    for name in (b"torch\nFloatStorage", b"torch.nn.modules.linear\nLinear"):
        assert interpret_pickle(io.BytesIO(b"\x80\x02c" + name + b"\n."), PLENTY).tree.full == name.decode().replace(
            "\n", "."
        )
        for call in (b"K\x05\x85R.", b")\x81."):
            with pytest.raises(RefusedGlobalError, match="FloatStorage|Linear"):
                interpret_pickle(io.BytesIO(b"\x80\x02c" + name + b"\n" + call), PLENTY)


def test_names_cannot_command_a_terminal() -> None:
    with pytest.raises(RefusedGlobalError) as refusal:
        interpret_pickle(io.BytesIO(b"\x80\x04\x8c\x03a\x1b[\x8c\x04exec\x93."), PLENTY)
    assert "\x1b" not in str(refusal.value)
