"""Grids of points for surfaces, their adaptive refinement, and the shape of the values on them."""
