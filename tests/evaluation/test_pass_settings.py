"""The settings of a forward pass: their words, and their snapshot."""

from __future__ import annotations

import pytest

from landscape.evaluation.pass_settings import PassSettings

CASES = {
    "the data's own batches": PassSettings(),
    "1,024 samples at once, channels last": PassSettings(1024, channels_last=True),
    "64 samples at once, 32 points vectorized": PassSettings(64, points=32),
}


@pytest.mark.parametrize(("words", "settings"), CASES.items(), ids=list(CASES))
def test_a_snapshot_restores_the_settings_and_words_tell_them_apart(words: str, settings: PassSettings) -> None:
    assert str(settings) == words
    assert PassSettings.from_array(settings.to_array()) == settings
