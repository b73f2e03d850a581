"""Quantities of single samples: losses, gradients, memorization scores, recited text."""
