"""Workers that train nothing: they answer from a table of trainings that were done before."""
