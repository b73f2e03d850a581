"""Markov chains on the parameters: steps, the part that is discarded, and whether chains agree."""
