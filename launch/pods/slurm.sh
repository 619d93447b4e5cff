#!/usr/bin/env bash
# A batch job of Slurm: one task for each device. launch.submit fills in what stands between two @.
#SBATCH --job-name=@name@
#SBATCH --output=@name@-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=@nodes@
#SBATCH --ntasks-per-node=@devices@
#SBATCH --gres=@gres@
#SBATCH --requeue
#SBATCH --signal=TERM@300
# The last line: five minutes before its time is over, the tasks alone get SIGTERM, save a checkpoint and end with status 3.
set -uo pipefail
export JAX_PLATFORMS=@backend@
# Which srun has not taken over from sbatch since Slurm 22.05.
[[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# A task that ends lets the others save what they have to; the status is the highest of all.
srun --kill-on-bad-exit=0 --wait=600 @container@ @command@
status=$?
again=${SLURM_RESTART_COUNT:-0}
restarts=@restarts@

case $status in
    0 | 2 | 126 | 127) exit "$status" ;; # finished, a mistake, or no such program: the same command would end so again
esac
if ((again >= restarts)); then
    echo "ended with status $status; started again $again times, the most that RESTARTS allows" >&2
    exit "$status"
fi
echo "ended with status $status: back into the queue" >&2
scontrol requeue "$SLURM_JOB_ID" || exit "$status"
