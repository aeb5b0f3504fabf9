"""Writes one Python file that applies a config to a network and needs torch alone."""
