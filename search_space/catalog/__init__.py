"""The entries of the catalogue, one file per family."""
