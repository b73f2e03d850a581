"""Objectives whose weights and vectors lie in parts on the ranks: theta, the Krylov basis, and the sums over data."""
