"""Stochastic estimators and the standard errors of what they estimate."""
