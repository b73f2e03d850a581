"""Titles of figures and tables, from the attributes of a stored result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape.analyses import ANALYSES
from landscape.conditions import Conditions
from landscape.fields import title_parts

OPTIONS: Mapping[str, type] = {analysis.name: analysis for analysis in ANALYSES}


def measurement_title(analysis: str, attributes: Mapping[str, Any], label: str = "") -> str:
    """The checkpoint's name with what was measured of it: `a.pt, ggn, params 0.*`, or `a.pt, element-wise l2`.

    `label` is what the checkpoint is called instead, where several have one name.
    """
    options, conditions = (json.loads(str(attributes.get(key, "{}"))) for key in ("options", "conditions"))
    checkpoint = label or Path(str(attributes["checkpoint"])).name or "model"
    measured = title_parts(OPTIONS[analysis], options) if analysis in OPTIONS else []
    return ", ".join([checkpoint, *measured, *title_parts(Conditions, conditions)])
