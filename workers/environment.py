"""Names of the environment variables of workers and of the processes of trials."""

LEASE_FILE = "ACTSEARCH_LEASE_FILE"
DATA_ROOT = "ACTSEARCH_DATA_ROOT"
TOKEN = "ACTSEARCH_TOKEN"
GPU_SHARE = "ACTSEARCH_GPU_SHARE"
