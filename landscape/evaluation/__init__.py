"""What forward passes of the model tell besides the mean loss and its gradient."""
