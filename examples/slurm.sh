#!/bin/bash
# Trains on several nodes under SLURM; started again, it goes on where it stopped.
#
#     sbatch --nodes 4 examples/slurm.sh /data/imagenet /scratch/$USER/resnet50 --model ResNet50 --epochs 120
#
# The first argument is the data set, the second the output folder, on a file system that all nodes share;
# the rest goes to `python -m fastaug.train`.

#SBATCH --job-name=fastaug
#SBATCH --nodes=1
# One task a node: torchrun, which starts a process for each of its 8 GPUs.
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
# Before the time is up SLURM tells this script (B:) by SIGTERM, 120 s ahead: time to save and to go to the
# end of the queue. After preemption or a node's failure SLURM itself queues the job again (--requeue).
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# Added to, not written anew, when the job is started again.
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail
data=${1:?usage: sbatch slurm.sh DATA OUTPUT [flags of fastaug.train]}
output=${2:?usage: sbatch slurm.sh DATA OUTPUT [flags of fastaug.train]}
shift 2

# Where the nodes meet: the first of them. The id differs from start to start, so that nothing left over
# from an earlier start is met.
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
id=$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}

# A process's threads for decoding and for the kernels are its share of the node's cores, by itself.
export OMP_NUM_THREADS=1

# SIGTERM goes on to srun, which passes it to every process; they finish the step they are in, save and
# exit with status 143. torchrun waits 30 s for them.
told= step=
trap 'told=yes; kill -TERM $step 2>/dev/null || true' TERM

# --kill-on-bad-exit: when a node fails, the others do not wait for it.
# --resume auto: from the output folder if it holds a checkpoint, else from the beginning.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc-per-node 8 \
    --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$id" \
    -m fastaug.train "$data" --output "$output" --resume auto "$@" &
step=$!

status=0
wait "$step" || status=$?
while kill -0 "$step" 2>/dev/null; do  # the signal ended the first wait, not the step
    status=0
    wait "$step" || status=$?
done

if [[ $told && $status -ne 0 ]]; then
    echo "out of time: job $SLURM_JOB_ID queues again and will go on from $output"
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
