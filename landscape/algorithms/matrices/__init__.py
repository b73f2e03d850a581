"""Dense matrices: matching of units, and removal of components in an eigenbasis."""
