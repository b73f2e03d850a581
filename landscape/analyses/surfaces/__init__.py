"""The loss on lines and planes through the checkpoint."""
