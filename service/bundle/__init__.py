"""What a user downloads: the best activation config and all that makes it usable."""
