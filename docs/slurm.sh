#!/bin/bash
#SBATCH --job-name=actsearch
#SBATCH --array=1-8
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
# One worker per job of the array. Before the time ends, and when Slurm takes the node away, the
# worker's trials hand in their checkpoints and go on in whatever job leases them next.
set -euo pipefail

: "${ACTSEARCH_URL:?set it to the address of the service, as seen from the nodes}"
: "${ACTSEARCH_TOKEN:?set it to a token with the scope work}"

# Older versions of Slurm do not tell when a job ends.
end=${SLURM_JOB_END_TIME:-$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e)" +%s)}

srun actsearch worker --until "$end" --home "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/actsearch-$SLURM_JOB_ID" &
worker=$!
# Slurm signals this script (B:); srun passes the signal on to the worker. A signal interrupts
# the first wait, and the second is for the worker's end.
trap 'kill -USR1 "$worker"' USR1 TERM
wait "$worker" || wait "$worker"
