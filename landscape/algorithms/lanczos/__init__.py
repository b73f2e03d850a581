"""Lanczos iterations: single, batched and per block, with Ritz pairs, certificates and quadrature."""
