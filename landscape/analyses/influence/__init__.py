"""Influence of training samples on the losses of queries, and on their own."""
