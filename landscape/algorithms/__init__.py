"""Pure numerical steps between immutable states: they see operators and tensors, never a model, a batch or a file."""
