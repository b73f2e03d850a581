"""What flat directions of the weights hold (K-FAC spectra), and the edit that removes them."""
