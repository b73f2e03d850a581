"""The local learning coefficient: the tempered posterior around a checkpoint, its chains, and what they estimate."""
