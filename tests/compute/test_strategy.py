"""Settings of products and the strategies that trials chose: what is shared, what is stored, what is taken over."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from landscape.compute.strategy import ProductKey, ProductSettings, Strategy, StrategyCache

SMALL, LARGE = ProductKey("hessian", 8, 8), ProductKey("hessian", 8, 1797)


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        ProductSettings().hvp = "loop"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "kind", "allowed"),
    [
        (ProductSettings(), "vmap", True),
        (ProductSettings(), "compiled", False),
        (ProductSettings(compile=True), "compiled", True),
        (ProductSettings(), "recorded", True),
        (ProductSettings(cuda_graphs="off"), "recorded", False),
        (ProductSettings(cuda_graphs="off"), "loop", True),
        (ProductSettings("difference"), "difference", True),
        (ProductSettings("difference"), "loop", False),
        (ProductSettings(), "difference", False),
    ],
)
def test_settings_forbid_programs_that_were_not_asked_for(settings: ProductSettings, kind: str, allowed: bool) -> None:
    assert settings.allows(Strategy(kind)) is allowed  # type: ignore[arg-type]


def test_a_trial_on_a_few_samples_does_not_decide_for_all_data() -> None:
    cache = StrategyCache({SMALL: Strategy("vmap", 8)})
    assert LARGE not in cache.chosen
    cache.chosen[LARGE] = Strategy()
    assert cache.chosen[SMALL] == Strategy("vmap", 8)


def test_the_latest_strategy_is_that_of_the_same_operator_and_columns() -> None:
    cache = StrategyCache({SMALL: Strategy("vmap", 8), LARGE: Strategy(), ProductKey("ggn", 8, 8): Strategy("vmap", 2)})
    assert cache.latest("hessian", 8) == Strategy()
    assert cache.latest("ggn", 8) == Strategy("vmap", 2)
    assert cache.latest("hessian", 1) is None


def test_stored_strategies_come_back_in_their_order() -> None:
    cache = StrategyCache({LARGE: Strategy("vmap", 4), SMALL: Strategy("linearize")})
    again = StrategyCache()
    again.restore(cache.to_json(), ProductSettings())
    assert list(again.chosen.items()) == list(cache.chosen.items())


def test_the_room_of_the_first_choice_comes_back_and_earlier_snapshots_have_none() -> None:
    again, older = StrategyCache(), StrategyCache()
    again.restore(StrategyCache(room=9_600).to_json(), ProductSettings("loop"))
    assert again.room == 9_600
    older.restore('[["hessian", 8, 8, "vmap", 4]]', ProductSettings())
    assert older.room is None
    assert list(older.chosen.values()) == [Strategy("vmap", 4)]


def test_a_strategy_that_the_user_names_is_not_overridden_by_a_stored_one() -> None:
    again = StrategyCache()
    again.restore(StrategyCache({LARGE: Strategy("vmap", 4)}).to_json(), ProductSettings("loop"))
    assert not again.chosen


def test_what_cannot_be_json_is_not_stored() -> None:
    cache = StrategyCache({LARGE: Strategy()}, programs={object(): object()}, notes=("a",))
    assert json.loads(cache.to_json()) == {"room": None, "chosen": [["hessian", 8, 1797, "loop", 1]]}


def test_notes_are_said_once_and_never_change() -> None:
    cache = StrategyCache()
    cache.add_note("a")
    earlier = cache.notes
    cache.add_note("b")
    cache.add_note("a")
    assert cache.notes == ("a", "b")
    assert earlier == ("a",)


def test_descriptions_name_the_micro_batch_only_where_there_are_several() -> None:
    one = StrategyCache({ProductKey("ggn", 1, 24): Strategy()}, {ProductKey("ggn", 1, 24): "graphs kept"})
    assert list(one.descriptions()) == ["ggn, 1 column: loop, graphs kept"]
    two = StrategyCache({SMALL: Strategy("vmap", 8), LARGE: Strategy()})
    assert list(two.descriptions()) == [
        "hessian, 8 columns on 8 samples: vmap of 8 columns",
        "hessian, 8 columns on 1797 samples: loop",
    ]


def test_the_step_of_differences_is_stored_and_taken_over_by_differences_alone() -> None:
    cache = StrategyCache({LARGE: Strategy("difference", 1, 1e-6), SMALL: Strategy("difference", 1, 1e-6)})
    cache.refine_differences(1e-7)
    again, other = StrategyCache(), StrategyCache()
    again.restore(cache.to_json(), ProductSettings("difference"))
    assert again.chosen == cache.chosen == dict.fromkeys([LARGE, SMALL], Strategy("difference", 1, 1e-7))
    assert again.difference_step == 1e-7
    assert str(again.chosen[SMALL]) == "differences of gradients, step 1e-07 max(|theta|, 1)"
    other.restore(cache.to_json(), ProductSettings())
    assert other.difference_step is None


def test_the_largest_error_of_differences_is_a_note() -> None:
    cache = StrategyCache({LARGE: Strategy("difference", 1, 1e-6)}, notes=("another",))
    assert cache.all_notes() == ("another",)
    cache.record_error(2e-4, 2.0)
    cache.record_error(1e-4, 4.0)
    assert cache.product_error == (2e-4, 2.0)
    assert cache.all_notes()[1].endswith(
        "1e-06 max(|theta|, 1) to both sides: they err by up to 0.0002 for a unit vector "
        "(0.01 % of the largest product)"
    )
    cache.record_error(0.5, 2.0)
    assert cache.difference_notes()[0].endswith("; kinks or rounding: --dtype float64 errs less")
