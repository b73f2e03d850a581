"""What every measurement assumes of a model, a loss and data, and the checks of it, before and after a measurement."""
