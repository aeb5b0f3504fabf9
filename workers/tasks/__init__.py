"""Tasks: what a worker can train."""
