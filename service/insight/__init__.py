"""Figures of a search, its learned activation functions, and its trials as a table."""
