"""Signals: the first waits for the current step, all others stop at once."""

from __future__ import annotations

import os
import signal

import pytest

from landscape import session
from landscape.errors import Interrupted
from landscape.session.stop import StopSignals


def test_outside_a_measurement_and_the_second_time_a_signal_stops_at_once() -> None:
    with session.StopSignals() as stop:
        with pytest.raises(Interrupted) as first:
            os.kill(os.getpid(), signal.SIGTERM)
        assert first.value.exit_code == 143
        assert stop.requested == signal.SIGTERM  # should the exception be swallowed, the next step ends the run
    with session.StopSignals() as stop:
        stop.deferring = True
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == signal.SIGINT
        with pytest.raises(Interrupted) as second:
            os.kill(os.getpid(), signal.SIGINT)
        assert second.value.exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_handlers_of_before_are_back_afterwards() -> None:
    def own(number: int, frame: object) -> None: ...

    earlier = signal.signal(signal.SIGTERM, own)
    try:
        with StopSignals():
            assert signal.getsignal(signal.SIGTERM) is not own
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, earlier)


def test_a_signal_is_deferred_within_the_block_alone() -> None:
    with StopSignals() as stop:
        with stop.defer():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested == signal.SIGTERM
        assert not stop.deferring
        with pytest.raises(ValueError, match="mine"), stop.defer():
            raise ValueError("mine")
        assert not stop.deferring
