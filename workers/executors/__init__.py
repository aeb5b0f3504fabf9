"""Where the processes of trials run."""
