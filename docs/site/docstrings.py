"""Examples of docstrings as blocks of code."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>>)(?!\s*$).*\n?)*)+", re.MULTILINE)


class Examples(griffe.Extension):
    """Puts fences around the lines of an interactive session, which Markdown takes for quotations."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of an object that was just read."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```\n", obj.docstring.value)
