"""One file of Python that needs torch alone, and puts a config's activations into a network."""
