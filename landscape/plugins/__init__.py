"""Python objects by name: registered ones, and the user's own as `pkg.mod:name` or `path/file.py:name`."""
