"""The command `actsearch`."""

from service.cli.main import main

__all__ = ["main"]
