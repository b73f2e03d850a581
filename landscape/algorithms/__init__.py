"""Pure steps between states: they see operators and tensors, never a model, a batch or a file."""
