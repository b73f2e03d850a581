"""Shared parts of several analyses: options of curvature matrices, products, tables by layer, phases, rounding."""
