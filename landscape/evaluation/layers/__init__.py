"""Quantities of single layers: their inputs and outputs, activations, K-FAC factors."""
