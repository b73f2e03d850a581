"""Batches of data: items understood as batches, surveyed, concatenated, and copied to the device."""
