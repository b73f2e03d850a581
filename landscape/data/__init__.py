"""Batches of data: reading, splitting, concatenation, placement on the device."""
