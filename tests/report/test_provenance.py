"""Where numbers come from: hashes, options, versions and commands of every result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from parsed_page import ParsedPage

import landscape
from landscape.report.provenance import data_warning, measurement_facts, provenance, reproduction
from landscape.storage.read import StoredResult


def changed(one: Any, analysis: str, **attributes: Any) -> Any:
    """The results with other attributes of one analysis."""
    groups = dict(one.groups)
    groups[analysis] = StoredResult(groups[analysis].values, {**groups[analysis].attributes, **attributes})
    return replace(one, groups=groups)


def test_each_result_has_a_row_and_inconclusive_ones_are_marked(measured: Path) -> None:
    both = [landscape.read(measured / f"{name}.landscape.h5") for name in ("run-2", "run-10")]
    page = ParsedPage(measurement_facts(["a", "b"], both))
    assert page.named("th")[0].text == "file"
    assert len(page.named("tr")) == 1 + sum(map(len, both))
    inconclusive = [name for one in both for name, record in one.records.items() if record.trouble()]
    assert len([one for one in page.named("span") if one.attributes["class"] == "alarm"]) == len(inconclusive)
    (alone,) = ParsedPage(measurement_facts(["a"], both[:1])).named("thead")
    assert alone.text.startswith("checkpointanalysis")


def test_results_of_other_data_are_named(first: Any) -> None:
    assert data_warning(["a"], [first]) == []
    other = changed(first, "trace", data_sha256="f" * 64)
    warning = data_warning(["a", "b"], [first, other])
    assert len(warning) == 2
    assert warning[1] == "data ffffffffffff: trace of b"


def test_everything_that_decided_a_result_is_told(first: Any) -> None:
    (part,) = provenance(["a"], [first]).parts
    text = ParsedPage(f"<main>{part.content}</main>").elements[0].text
    for name in first.records:
        attributes = first.groups[name].attributes
        for key in ("fingerprint", "data_sha256", "checkpoint_sha256"):
            assert attributes[key] in text
    assert "options" in text
    assert "k 3" in text
    assert "none: measured in Python" in text
    assert f"{len(first.eig.checks)} checks of the model" in text


def test_unknown_analyses_of_a_file_are_named(first: Any) -> None:
    more = replace(first, groups={**first.groups, "frobenius<": SimpleNamespace()})
    assert "also holds frobenius&lt;, which this version does not know" in provenance(["a"], [more]).parts[0].content


def test_versions_are_those_of_the_environment_without_builds(first: Any) -> None:
    environment = json.loads(first.groups["eig"].attributes["environment"])
    text = ParsedPage(f"<main>{reproduction([first, first]).content}</main>").named("pre")[0].text
    lines = text.splitlines()
    assert f"torch=={environment['torch'].partition('+')[0]}" in lines[0]
    assert "+" not in lines[0]
    assert len([line for line in lines if line.startswith("landscape eig")]) == 1
