"""This machine, and how torch computes on it: devices, memory budget, precision, timing, strategies of products."""
