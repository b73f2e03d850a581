"""The smallest step at which a function of one variable is above its value at 0 again, by few evaluations."""
