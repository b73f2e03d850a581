"""Quantities of single samples: losses, gradients, input curvature, memorization scores, recited text."""
