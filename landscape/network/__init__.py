"""The user's module taken apart: parameters as one vector, filters, symmetries, wrappers, replicas."""
