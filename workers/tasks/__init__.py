"""What a worker can run."""
