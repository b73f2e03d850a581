"""Projected gradient ascent in norm balls, and where its starting points come from."""
