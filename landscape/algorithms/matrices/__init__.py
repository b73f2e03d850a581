"""Dense matrices: matching of units, selection and removal of components in an eigenbasis."""
