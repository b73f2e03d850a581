"""Gates: whether a checkpoint is sharper than it was. What cannot be compared is never a pass."""
