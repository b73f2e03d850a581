"""What a number was made from and with: the fingerprint of a run and the environment of its process."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SCHEMA = 1  # of results, snapshots and JSON documents
STREAM = "normal numbers by chunks of 2^20"  # the stream of random numbers, which decides results of longer vectors
STREAM_CHUNK = 1 << 20  # vectors up to this length are the same in every stream so far
PACKAGES = ("loss-landscape-geometry", "torch", "numpy", "scipy", "h5py", "pyhessian")


@dataclass(frozen=True)
class Fingerprint:
    """Everything that decides a result: weights, data, loss, mode, dtype, options and seed; not device or paths."""

    parts: Mapping[str, Any]

    def to_json(self) -> str:
        return json.dumps(dict(self.parts), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        return cls(json.loads(text))

    @property
    def digest(self) -> str:
        """A short name of the parts: equal parts, equal digest."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def differences(self, other: Fingerprint) -> list[str]:
        """The parts that differ, each with both values, this one first."""
        return _differences(json.loads(self.to_json()), json.loads(other.to_json()))


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], within: str = "") -> list[str]:
    """The entries that differ, those of dictionaries by their names in it: `trace rtol: 0.1 here, 0.05 there`."""
    found = []
    for name in sorted(mine.keys() | theirs.keys()):
        one, other = mine.get(name), theirs.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{within}{name} ")
        elif one != other:
            found.append(f"{within}{name}: {one} here, {other} there")
    return found


def environment() -> dict[str, str]:
    """Versions of what computes, and the kind of machine; no path and no user."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "processor": platform.machine(),
        **{package: version_of(package) for package in PACKAGES},
    }


def version_of(package: str) -> str:
    """The installed version of a distribution, or "none"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
