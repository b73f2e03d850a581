"""Names in a pickle are data or placeholders; nothing is imported and nothing is called."""

from __future__ import annotations

import io
import sys

import pytest

from landscape.checkpoints.formats.pickle_values import GlobalName, OpaqueValue, RefusedGlobalError
from landscape.checkpoints.formats.pickled import Pickle, interpret_pickle
from landscape.checkpoints.formats.tensor_refs import DamageError

PLENTY = 1 << 24
USES = (b".", b")R.", b")\x81.", b")}\x92.")


def followed(content: bytes) -> Pickle:
    return interpret_pickle(io.BytesIO(content), PLENTY)


def named(name: str, use: bytes) -> Pickle:
    module, _, member = name.rpartition(".")
    return followed(b"\x80\x04c" + module.encode() + b"\n" + member.encode() + b"\n" + use)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "subprocess.Popen", "posix.execv"])
def test_a_name_that_runs_commands_is_refused_where_it_stands(name: str) -> None:
    for use in USES:
        with pytest.raises(RefusedGlobalError, match=name):
            named(name, use)


@pytest.mark.parametrize("name", ["__main__.Config", "antigravity.Page", "torch.FloatStorage", "torch.nn.modules.X"])
def test_any_other_name_is_a_word_and_what_it_makes_a_placeholder(name: str) -> None:
    before = set(sys.modules)
    for use in USES:
        pickle = named(name, use)
        assert isinstance(pickle.tree, GlobalName if use == b"." else OpaqueValue)
        assert pickle.tree.kind == name
        assert pickle.bystanders == (name,) or (use == b"." and name.startswith("torch."))
    assert {"antigravity"} & set(sys.modules) == {"antigravity"} & before


def test_a_placeholder_keeps_what_it_is_given_in_order() -> None:
    value = named("a.B", b"K\x01\x85R(K\x02e(\x8c\x01cK\x03u}b.").tree
    assert isinstance(value, OpaqueValue)
    assert value.parts == [(1,), 2, "c", 3, {}]
    assert value.state == {}


def test_what_a_placeholder_gives_is_called_like_it() -> None:
    value = named("a.make", b")RK\x05\x85R.").tree
    assert isinstance(value, OpaqueValue)
    assert value.kind == "a.make"
    assert value.parts[0] == (5,)


def test_instances_of_protocol_0_and_1_are_placeholders() -> None:
    assert followed(b"(K\x01ia\nB\n.").tree.parts == [(1,)]
    assert followed(b"(ca\nB\nK\x01o.").tree.parts == [(1,)]


def test_a_module_s_class_in_the_old_format_is_its_name() -> None:
    assert followed(b"(X\x06\x00\x00\x00moduleca\nNet\nX\x01\x00\x00\x00sX\x01\x00\x00\x00ctQ.").tree.kind == "a.Net"


@pytest.mark.parametrize("called", [b"K\x01", b"}", b"X\x01\x00\x00\x00a", b")"], ids=["int", "dict", "text", "tuple"])
def test_what_is_no_name_is_not_called(called: bytes) -> None:
    with pytest.raises(DamageError, match="only names are called"):
        followed(b"\x80\x02" + called + b")R.")


def test_names_cannot_command_a_terminal() -> None:
    pickle = followed(b"\x80\x04\x8c\x03a\x1b[\x8c\x04name\x93.")
    assert "\x1b" not in "".join(pickle.bystanders)
    with pytest.raises(RefusedGlobalError) as refusal:
        followed(b"\x80\x04\x8c\x0asubprocess\x8c\x05a\x1b[2J\x93.")
    assert "\x1b" not in str(refusal.value)


def test_an_object_in_place_of_a_key_is_kept_as_the_key() -> None:
    tree = followed(b"}ca\nKey\n)RK\x01s.").tree
    assert [key.kind for key in tree] == ["a.Key"]
