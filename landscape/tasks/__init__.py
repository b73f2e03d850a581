"""What a checkpoint file leaves out: the model, the data and the loss."""
