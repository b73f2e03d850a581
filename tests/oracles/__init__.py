"""Answers known from theory or from dense solvers, written without the code under test."""
