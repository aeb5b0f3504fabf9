"""The rows: the only truth about searches and trials."""
