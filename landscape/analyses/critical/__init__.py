"""Critical sharpness: the smallest step of an update at which the loss is no longer below that at the weights."""
