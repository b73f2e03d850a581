"""Checkpoint file formats, read as data: no code from a file runs."""
