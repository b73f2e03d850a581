"""From a checkpoint's path to an objective, whose weights are whole on every rank or in parts on all of them."""

from landscape.loading.from_path import load

__all__ = ["load"]
