"""A bound allows its limit and refuses what is above it."""

from __future__ import annotations

import pytest

from landscape.zoo.limits import require_at_most


def test_the_limit_itself_is_allowed() -> None:
    require_at_most(3, 3, "layers")


def test_more_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"^4,000 layers are more than 3$"):
        require_at_most(3, 4000, "layers")
