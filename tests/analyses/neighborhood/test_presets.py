"""What is chosen where nothing is given."""

from __future__ import annotations

import pytest

from landscape.analyses.neighborhood.presets import PRESETS, PROTOCOL_OPTIONS, protocol_for

NOTHING = dict.fromkeys(("norm", "adaptive", "adaptive_eta", "m", "starts", "steps", "draws", "noise"))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_settles_every_option(preset: str) -> None:
    chosen = protocol_for(preset, NOTHING)
    names = set(PROTOCOL_OPTIONS)
    assert chosen.keys() == names
    assert all(chosen[name] is not None for name in names - {"m"})
    assert len(chosen["rho"]) == len(chosen["average_rho"])


def test_what_is_given_wins_over_the_preset_even_where_it_is_zero() -> None:
    chosen = protocol_for("asam", {**NOTHING, "adaptive_eta": 0.0, "draws": 3, "steps": 5})
    assert (chosen["adaptive_eta"], chosen["draws"], chosen["steps"]) == (0.0, 3, 5)
    assert chosen["rho"] == (0.5,)


def test_usual_radii_follow_the_norm_and_the_scale() -> None:
    assert protocol_for("none", NOTHING)["rho"] == (0.2,)
    assert protocol_for("none", {**NOTHING, "adaptive": "none"})["rho"] == (0.05,)
    assert protocol_for("none", {**NOTHING, "norm": "linf"})["rho"] == (2e-3,)
    assert protocol_for("none", {**NOTHING, "rho": (0.3,)})["average_rho"] == (0.3,)
