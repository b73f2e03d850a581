"""The command `landscape`: derived from the analyses' fields."""
