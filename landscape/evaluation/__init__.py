"""Quantities of a model on its data besides the mean loss and its gradient: points, layers, samples, populations."""
