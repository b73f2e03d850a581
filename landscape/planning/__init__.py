"""Plans for other machines: what a measurement takes, from a model's configuration alone, on torch's meta device."""
