"""Writing an edited copy of a checkpoint, and undoing the edit bit for bit."""
