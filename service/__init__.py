"""The API and every decision. Imports no torch."""
