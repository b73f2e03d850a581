"""Presets, given options and defaults, and the protocol that follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from landscape.analyses.neighborhood.presets import PRESETS, PROTOCOL_OPTIONS, SharpnessProtocol, protocol_for
from landscape.errors import UsageError


def protocol(preset: str, **given: Any) -> SharpnessProtocol:
    return protocol_for(preset, {**dict.fromkeys(PROTOCOL_OPTIONS), **given})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_decides_every_option(preset: str) -> None:
    chosen = protocol(preset)
    assert all(getattr(chosen, name) is not None for name in PROTOCOL_OPTIONS if name != "m")
    assert len(chosen.rho) == len(chosen.average_rho)


def test_given_options_override_the_preset_even_where_they_are_zero() -> None:
    chosen = protocol("asam", adaptive_eta=0.0, draws=3, steps=5)
    assert (chosen.adaptive_eta, chosen.draws, chosen.steps) == (0.0, 3, 5)
    assert chosen.rho == (0.5,)


def test_default_radii_follow_the_norm_and_the_scale() -> None:
    assert protocol("none").rho == (0.2,)
    assert protocol("none", adaptive="none").rho == (0.05,)
    assert protocol("none", norm="linf").rho == (2e-3,)
    assert protocol("none", rho=(0.3,)).average_rho == (0.3,)


def test_radii_ascend_with_their_noise_and_repeats_are_dropped() -> None:
    chosen = protocol("none", rho=(1.0, 0.5, 1.0), average_rho=(0.1, 0.2, 0.1))
    assert (chosen.rho, chosen.average_rho) == ((0.5, 1.0), (0.2, 0.1))
    with pytest.raises(UsageError, match="3 --rho and 1 --average-rho"):
        protocol("none", rho=(1.0, 2.0, 3.0), average_rho=(0.1,))


def test_the_preset_s_scale_does_not_survive_another_choice_of_scale() -> None:
    chosen = protocol("asam", adaptive="none")
    assert (chosen.adaptive_eta, chosen.unscaled) == (0.0, ())


def test_a_protocol_that_measures_nothing_or_has_no_error_is_refused() -> None:
    with pytest.raises(UsageError, match="neither worst case nor average"):
        protocol("none", starts=0, draws=0)
    with pytest.raises(UsageError, match="--draws 1 has no standard error"):
        protocol("none", draws=1)
    with pytest.raises(UsageError, match="--draws 0 leaves out"):
        protocol("none", draws=0, rho=(0.1,), average_rho=(0.2,))
