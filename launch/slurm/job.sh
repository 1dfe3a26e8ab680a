# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
# What every batch script for SLURM does; flan_jax/launching/slurm.py writes the job's own lines
# before it: options of sbatch, exported variables, max_restarts, grace_s, logs, train.
# shellcheck shell=bash disable=SC2154

set -u
restarts=${SLURM_RESTART_COUNT:-0}
stopping='' interrupted=''

say() {
  echo "launch: $(date -u +%FT%TZ), job $SLURM_JOB_ID, start $((restarts + 1)): $*"
}

# Someone wants this job to end. scancel with a signal tells the tasks, not this script.
stop() {
  stopping=yes interrupted=yes
  scancel --signal=TERM "$SLURM_JOB_ID"
}

if ! command -v flan-jax > /dev/null; then
  say "no flan-jax on PATH; activate its environment before you launch" >&2
  exit 2
fi
trap stop TERM
# For downloads on a login node; here they keep the hosts from meeting.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
# Since 22.05 a step no longer has the job's number of cores by itself.
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

say "on $SLURM_JOB_NODELIST, logs in $logs"
srun --kill-on-bad-exit=0 --wait="$grace_s" \
  --output="$logs/process_%t.log" --open-mode=append "${train[@]}" &
step=$!
while :; do
  wait "$step"
  code=$?
  # A signal to this script ends `wait` before the step has ended.
  if [[ -z $interrupted ]]; then break; fi
  interrupted=''
done

case $code in
  0) say "done"; exit 0 ;;
  2 | 3) say "ended with exit code $code: see $logs; not started again"; exit "$code" ;;
esac
if [[ -n $stopping ]]; then
  say "stopped, exit code $code"
  exit "$code"
fi
if [[ $code -ne 75 && $restarts -ge $max_restarts ]]; then
  say "ended with exit code $code after $restarts restarts: see $logs; given up"
  exit "$code"
fi
say "ended with exit code $code: back into the queue"
if ! scontrol requeue "$SLURM_JOB_ID"; then
  say "it could not be put back; submit this script again to continue"
  exit "$code"
fi
