"""Sentences name the files of `--against`."""

from __future__ import annotations

from landscape.gates.reference import BASELINE, reference_of_files


def test_files_are_named_and_nothing_writes_them() -> None:
    assert reference_of_files(["good.pt"]).name == "good.pt"
    assert reference_of_files(list("abcde")).name == "a, b, c and 2 more"
    assert "--update" in BASELINE.accept
    assert "--update" not in reference_of_files(["good.pt"]).accept
