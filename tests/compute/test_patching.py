"""A shared change is made once and undone once, however blocks nest, overlap or fail."""

from __future__ import annotations

import threading

import pytest

from landscape.compute.patching import SharedPatch


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def patch(events: list[str]) -> SharedPatch:
    def apply() -> object:
        events.append("made")
        return lambda: events.append("undone")

    return SharedPatch(apply)  # type: ignore[arg-type]


def test_nested_blocks_make_the_change_once(patch: SharedPatch, events: list[str]) -> None:
    with patch.in_force():
        with patch.in_force():
            assert events == ["made"]
        assert events == ["made"]
    assert events == ["made", "undone"]


def test_a_later_block_makes_it_again(patch: SharedPatch, events: list[str]) -> None:
    for _ in range(2):
        with patch.in_force():
            pass
    assert events == ["made", "undone"] * 2


def test_an_error_in_the_block_undoes_it(patch: SharedPatch, events: list[str]) -> None:
    with pytest.raises(ValueError, match="inside"), patch.in_force():
        raise ValueError("inside")
    assert events == ["made", "undone"]


def test_a_block_of_another_thread_that_outlasts_the_first_keeps_the_change(
    patch: SharedPatch, events: list[str]
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with patch.in_force():
            entered.set()
            leave.wait(timeout=10)

    thread = threading.Thread(target=other)
    with patch.in_force():
        thread.start()
        assert entered.wait(timeout=10)
    assert events == ["made"]
    leave.set()
    thread.join(timeout=10)
    assert events == ["made", "undone"]
