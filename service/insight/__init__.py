"""What a search shows to those who look closer: figures, and its trials for other tools."""
