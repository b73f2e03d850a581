"""Results for pages: some analyses alone, and results whose names are hostile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.report.page import Library
from landscape.report.report import report_page
from landscape.report.sources import ReportSources, Unread
from landscape.storage.read import StoredResult

HOSTILE = '"><script>window.hacked = 1</script><img src=x onerror="window.hacked=1">\n&lt;'


def only(one: Any, *names: str) -> Any:
    """The results of these analyses alone."""
    chosen = {name: one.groups[name] for name in names}
    return replace(one, groups=chosen, records={name: one.records[name] for name in names})


def hostile(one: Any) -> Any:
    """Results whose names, notes and options are hostile."""
    groups, records = {}, {}
    for name, group in one.groups.items():
        attributes = {
            **group.attributes, "checkpoint": HOSTILE, "data_sha256": HOSTILE, "notes": json.dumps([HOSTILE]),
            "resolved_from": json.dumps({HOSTILE: HOSTILE}), "environment": json.dumps({HOSTILE: HOSTILE}),
            "conditions": json.dumps({"model": HOSTILE, "model_arg": [HOSTILE], HOSTILE: HOSTILE}),
            "options": json.dumps({**json.loads(group.attributes["options"]), HOSTILE: HOSTILE, "blocks": [HOSTILE]}),
        }  # fmt: skip
        groups[name] = StoredResult(group.values, attributes)
        records[name] = replace(one.records[name], attributes={**attributes, "analysis": name})
    for name, field in (("eig", "layer"), ("sharpness", "start")):
        if name in records:
            names = np.array([f"{HOSTILE}{place}" for place in range(len(getattr(records[name], field)))])
            records[name] = replace(records[name], **{field: names})
    return replace(one, file=Path(f"{HOSTILE.replace('/', '')}.landscape.h5"), groups=groups, records=records)


def hostile_page(first: Any, library: Library | None, *names: str) -> str:
    """A page of hostile names, with these analyses, beside the same results with ordinary ones."""
    first = only(first, *names)
    return report_page(
        ReportSources((hostile(first), first), (Unread(HOSTILE, HOSTILE),), (Path(HOSTILE),)), library=library
    )
