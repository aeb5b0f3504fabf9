"""What may be searched, as data, and how that data becomes torch modules."""
