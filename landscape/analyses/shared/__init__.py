"""Shared parts of several analyses: options, products, resampling, tables by layer, phases, rounding."""
