"""Fingerprints and the environment of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version

from landscape.storage import provenance
from landscape.storage.provenance import Fingerprint


def test_a_digest_depends_on_the_parts_and_not_on_their_order() -> None:
    one, same = Fingerprint({"weights": "a", "seed": 0}), Fingerprint({"seed": 0, "weights": "a"})
    assert one.digest == same.digest
    assert len(one.digest) == 16
    assert one.digest != Fingerprint({"weights": "a", "seed": 1}).digest
    assert Fingerprint.from_json(one.to_json()).digest == one.digest


def test_differences_name_both_values_and_parts_that_one_lacks() -> None:
    here, there = Fingerprint({"seed": 1, "k": 2, "same": (1, 2)}), Fingerprint({"seed": 3, "tol": 0.1, "same": [1, 2]})
    assert here.differences(there) == ["k: 2 here, None there", "seed: 1 here, 3 there", "tol: None here, 0.1 there"]
    assert here.differences(here) == []


def test_the_environment_names_versions_and_neither_user_nor_path() -> None:
    environment = provenance.environment()
    assert environment["torch"] == version("torch")
    assert not any("/" in value for value in environment.values())


def test_a_distribution_that_is_not_there_has_no_version() -> None:
    assert provenance.version_of("numpy") == version("numpy")
    assert provenance.version_of("no-such-distribution") == "none"


def test_times_are_utc_to_the_second() -> None:
    now = datetime.fromisoformat(provenance.now())
    assert now.tzinfo == UTC
    assert now.microsecond == 0
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60
