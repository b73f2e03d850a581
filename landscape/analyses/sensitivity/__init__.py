"""Which layers tolerate rounded or pruned weights: forecasts by curvature beside real changes of the loss."""
