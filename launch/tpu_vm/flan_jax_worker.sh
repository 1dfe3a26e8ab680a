#!/usr/bin/env bash
# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What each worker of a Cloud TPU VM does for a job. `flan-jax launch --target tpu-vm` copies this
# file to all workers and calls it there.
#
#   flan_jax_worker.sh install [--bucket=BUCKET ...] PACKAGE ...
#       makes a Python environment with the packages and mounts each bucket at /gcs/BUCKET
#   flan_jax_worker.sh start NAME SLICE MODEL_DIR [VARIABLE=VALUE ...] -- ARGUMENT ...
#       starts this worker's part of the training; it goes on when the connection ends.
#       SLICE counts from 0; ARGUMENTs are those of flan-jax train
#   flan_jax_worker.sh status NAME
#       prints one line: is it running, done, failed, or not started?
#   flan_jax_worker.sh stop NAME [--no-block]
#       asks it to save and stop; waits for that, unless told not to

set -Eeuo pipefail
trap 'echo "flan-jax: error: ${ME:-a worker}: failed: $BASH_COMMAND" >&2' ERR

readonly ROOT="$HOME/.flan_jax"
readonly PYTHON_VERSION=3.11 # the images up to v4 bring 3.10, too old for flan_jax
# From SIGTERM until a process is killed: 300 s for the save, and some for the rest.
readonly STOP_S=330
readonly BEGIN_S=5 # a program that cannot run at all has ended by then

metadata() {
  curl --silent --show-error --fail --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

WORKER=$(metadata agent-worker-number)
ENDPOINTS=$(metadata worker-network-endpoints)
COMMAS=${ENDPOINTS//[^,]/}
readonly WORKER NUM_WORKERS=$((${#COMMAS} + 1))
readonly ME="worker $WORKER of $NUM_WORKERS"

fail() {
  echo "flan-jax: error: $ME: $1" >&2
  exit 1
}

make_environment() {
  if [[ ! -x $ROOT/uv/bin/uv ]]; then
    python3 -m pip install --quiet --target "$ROOT/uv" 'uv>=0.8,<1' ||
      fail "cannot install uv; can this machine reach the Python package index?"
  fi
  "$ROOT/uv/bin/uv" venv --quiet --python "$PYTHON_VERSION" --allow-existing "$ROOT/venv" ||
    fail "cannot make a Python $PYTHON_VERSION environment"
  # The same version may have been built from another state of the sources.
  "$ROOT/uv/bin/uv" pip install --quiet --python "$ROOT/venv" --reinstall-package flan_jax "$@" ||
    fail "cannot install $*"
}

install_gcsfuse() {
  local release key=/usr/share/keyrings/cloud.google.asc
  local repository=https://packages.cloud.google.com/apt
  release=$(lsb_release --codename --short)
  sudo curl --silent --show-error --fail --output "$key" "$repository/doc/apt-key.gpg"
  echo "deb [signed-by=$key] $repository gcsfuse-$release main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  # A new machine updates itself in its first minutes, and holds the lock meanwhile.
  sudo apt-get --quiet --quiet -o DPkg::Lock::Timeout=600 update
  sudo apt-get --quiet --quiet -o DPkg::Lock::Timeout=600 install --yes gcsfuse
}

mount_bucket() {
  local bucket=$1 point="/gcs/$1" free_mb
  if mountpoint --quiet "$point" && ls "$point" >/dev/null; then
    return
  fi
  sudo umount --lazy "$point" 2>/dev/null || true # what is left of a mount whose process died
  sudo mkdir --parents "$point"
  sudo chown "$(id --user):$(id --group)" "$point"
  mkdir --parents "$ROOT/cache/$bucket"
  free_mb=$(df --output=avail --block-size=1M "$ROOT" | tail --lines=1)
  # - implicit-dirs: folders that were copied there are seen.
  # - rename-dir-limit: a checkpoint gets its name by renaming its folder; without a hierarchical
  #   namespace a bucket does so file by file, and gcsfuse refuses unless allowed.
  # - metadata-cache: on TPU machines gcsfuse never looks again by default, elsewhere not for some
  #   seconds, and a host would not see what others have just written.
  # - file cache: rows of a token store are read at random; each file is fetched whole, once.
  gcsfuse --implicit-dirs --rename-dir-limit=200000 --metadata-cache-ttl-secs=0 \
    --metadata-cache-negative-ttl-secs=0 \
    --cache-dir="$ROOT/cache/$bucket" --file-cache-max-size-mb=$((free_mb / 4)) \
    --file-cache-cache-file-for-range-read "$bucket" "$point" ||
    fail "cannot mount gs://$bucket; the TPUs' service account needs roles/storage.objectUser on it"
}

install() {
  local buckets=() packages=() argument bucket
  for argument in "$@"; do
    case $argument in
      --bucket=*) buckets+=("${argument#--bucket=}") ;;
      *) packages+=("$argument") ;;
    esac
  done
  mkdir --parents "$ROOT"
  make_environment "${packages[@]}"
  if [[ ${#buckets[@]} -gt 0 ]]; then
    command -v gcsfuse >/dev/null || install_gcsfuse
    for bucket in "${buckets[@]}"; do
      mount_bucket "$bucket"
    done
  fi
  echo "flan-jax $ME: installed"
}

start() {
  local name=$1 slice=$2 model_dir=$3 settings=()
  local unit="flan-jax-$name"
  shift 3
  while [[ $1 != -- ]]; do
    settings+=("--setenv=$1")
    shift
  done
  sudo systemctl stop "$unit" 2>/dev/null || true
  sudo systemctl reset-failed "$unit" 2>/dev/null || true
  # - KillMode: SIGTERM for the supervisor alone, which passes it on.
  # - OOMPolicy: a process that is killed for its memory is the supervisor's to start again; systemd
  #   would stop them all, as if somebody had asked for it.
  # - $$: systemd puts variables in for a single one.
  sudo systemd-run --quiet --unit="$unit" --uid="$(id --user)" --gid="$(id --group)" \
    --working-directory="$HOME" --setenv="HOME=$HOME" "${settings[@]}" \
    --property=KillMode=mixed --property=TimeoutStopSec="$STOP_S" \
    --property=RemainAfterExit=yes --property=LimitMEMLOCK=infinity --property=OOMPolicy=continue \
    -- "$ROOT/venv/bin/python" -m flan_jax.launching.supervise --model_dir="$model_dir" \
    --process_id=$((slice * NUM_WORKERS + WORKER)) "${@//\$/\$\$}" ||
    fail "systemd does not start $unit"
  sleep "$BEGIN_S"
  status "$name"
  [[ $STATE != failed* ]] || fail "$STATE: $(last_line "$unit")"
}

# Sets STATE and prints it.
status() {
  local unit="flan-jax-$1" code
  code=$(property "$unit" ExecMainStatus)
  # 2 and 3: it was ended by a signal, of that number.
  [[ $(property "$unit" ExecMainCode) != [23] ]] || code=$((128 + code))
  case $(property "$unit" LoadState)/$(property "$unit" ActiveState)/$(property "$unit" SubState) in
    not-found/*) STATE="not started" ;;
    */failed/*) [[ $code == 75 ]] && STATE="stopped, it saved" || STATE="failed, exit code $code" ;;
    */active/exited) STATE="done" ;;
    */active/*) STATE="running" ;;
    *) STATE="stopping" ;;
  esac
  echo "flan-jax $ME: $STATE"
}

property() {
  systemctl show "$1" --property="$2" --value
}

last_line() {
  sudo journalctl --unit="$1" --lines=1 --output=cat --no-pager
}

stop() {
  local unit="flan-jax-$1"
  shift
  if [[ $(property "$unit" LoadState) == not-found ]]; then
    echo "flan-jax $ME: not started"
    return
  fi
  sudo systemctl stop "$@" "$unit" || fail "systemd does not stop $unit"
}

case ${1:-} in
  install | start | status | stop) "$@" ;;
  *) fail "unknown action '${1:-}'; give install, start, status or stop" ;;
esac
