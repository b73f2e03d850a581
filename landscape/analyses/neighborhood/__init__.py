"""How the loss and its gradient change in a ball around the checkpoint: sharpness and flatness."""
