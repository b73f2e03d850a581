"""Models, losses and data of the kinds that people bring, each with the answer of its own plain computation."""
