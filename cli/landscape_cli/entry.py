"""The first module of the command: signals and errors end it in words from here on, while it is still imported."""

from __future__ import annotations

import sys

from landscape.compute.interrupts import end_on_signals
from landscape.compute.out_of_memory import is_out_of_memory, out_of_memory
from landscape.errors import EXIT_FAILURE

end_on_signals()
try:
    from landscape_cli.main import main
except Exception as error:  # a library that cannot be loaded must not read as a regression, exit code 1
    print(
        f"error: {out_of_memory(error, 'while the command was loaded', 'free some memory')}"
        if is_out_of_memory(error)
        else f"error: the command cannot be loaded: {type(error).__name__}: {error}\n  fix:  install it again",
        file=sys.stderr,
    )
    sys.exit(EXIT_FAILURE)

__all__ = ["main"]
