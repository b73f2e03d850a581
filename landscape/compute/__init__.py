"""This machine, and how torch computes on it: devices, free memory, precision, timing, vmap."""
