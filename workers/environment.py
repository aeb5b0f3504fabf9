"""Names of the environment variables that a trial's process is started with."""

LEASE_FILE = "ACTSEARCH_LEASE_FILE"
DATA_ROOT = "ACTSEARCH_DATA_ROOT"
