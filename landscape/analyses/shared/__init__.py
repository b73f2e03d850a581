"""What several analyses need: operators from options, measurement by layer, phases, rounding."""
