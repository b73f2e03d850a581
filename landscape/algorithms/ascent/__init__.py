"""Ascent in norm balls (along the sphere of an l2 ball, elsewhere by Frank-Wolfe steps), and its starting points."""
