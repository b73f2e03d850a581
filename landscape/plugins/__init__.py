"""Names that stand for Python objects: registered ones, and `file.py:function`."""
