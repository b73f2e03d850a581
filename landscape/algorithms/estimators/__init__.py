"""Stochastic estimators with their standard errors: traces, controlled means, resampled sums, ROC areas."""
