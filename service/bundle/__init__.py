"""The download: the best activation config and the files that make it usable."""
