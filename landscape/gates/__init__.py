"""Gates: whether any gated number is worse than its baseline. What cannot be compared is never a pass."""
