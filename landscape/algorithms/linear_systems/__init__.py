"""Systems (A + damping I) x = b of symmetric operators: preconditioned conjugate gradients for blocks of columns."""
