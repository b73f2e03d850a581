"""The names of the package are imported on first use."""

from __future__ import annotations

import pytest

from landscape import callbacks


@pytest.mark.parametrize("name", ["Monitor", "LightningMonitor", "TrainerMonitor"])
def test_every_name_is_there(name: str) -> None:
    pytest.importorskip({"LightningMonitor": "lightning", "TrainerMonitor": "transformers"}.get(name, "torch"))
    assert getattr(callbacks, name).__name__ == name
    assert name in dir(callbacks)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'landscape.callbacks' has no attribute 'Nobody'"):
        _ = callbacks.Nobody
