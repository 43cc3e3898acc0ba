#!/usr/bin/env bash
# A run on every worker of a TPU slice, from a checkout on a machine where gcloud is logged in.
#
#   bash launch/tpu_pod.sh create  NAME ZONE TYPE           v6e-64 for instance; QUEUED=1: when there is room
#   bash launch/tpu_pod.sh mount   NAME ZONE SERVER:/SHARE  NFS (Filestore) as /runs on every worker
#   bash launch/tpu_pod.sh copy    NAME ZONE PATH           a file or directory, under the same name in ~
#   bash launch/tpu_pod.sh install NAME ZONE                what is committed here, with a .venv of its own
#   bash launch/tpu_pod.sh run     NAME ZONE FLAGS          launch.train everywhere, in the background
#   bash launch/tpu_pod.sh tail    NAME ZONE                what worker 0 says
#   bash launch/tpu_pod.sh stop    NAME ZONE                SIGTERM: a checkpoint, then the end
#   bash launch/tpu_pod.sh resume  NAME ZONE                the last run's flags once more
#   bash launch/tpu_pod.sh delete  NAME ZONE                QUEUED=1 if it was created so
#
# --workdir must lie on storage that all workers see, such as /runs/NAME. DRY_RUN=1 prints the
# commands and runs none. VERSION: the image of the TPU's kind.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,15s/^# \{0,1\}//p' launch/tpu_pod.sh >&2
  exit 2
}

do_it() { # prints what it runs; with DRY_RUN that is all
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ -n "${DRY_RUN:-}" ] || "$@"
}

on() { # on WORKERS COMMAND
  do_it gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker="$1" --command="$2"
}

to_all() { # to_all SOURCE TARGET: into the home directory of every worker
  do_it gcloud compute tpus tpu-vm scp --recurse "$1" "$name:$2" --zone="$zone" --worker=all
}

create() {
  local common=("--zone=$zone" "--accelerator-type=$1") version="${VERSION:-v2-alpha-tpuv6e}"
  if [ -n "${QUEUED:-}" ]; then
    do_it gcloud compute tpus queued-resources create "$name" --node-id="$name" "${common[@]}" \
      --runtime-version="$version"
  else
    do_it gcloud compute tpus tpu-vm create "$name" "${common[@]}" --version="$version"
  fi
}

delete() {
  if [ -n "${QUEUED:-}" ]; then
    do_it gcloud compute tpus queued-resources delete "$name" --zone="$zone" --force --quiet
  else
    do_it gcloud compute tpus tpu-vm delete "$name" --zone="$zone" --quiet
  fi
}

apt="sudo apt-get -qq -o DPkg::Lock::Timeout=300" # a fresh image upgrades itself and holds the lock

mount_share() {
  on all "$apt update && $apt install -y nfs-common && sudo mkdir -p /runs &&
    { mountpoint -q /runs || sudo mount -t nfs $(printf %q "$1") /runs; } && sudo chmod a+rwx /runs"
}

install() {
  local archive
  archive="$(mktemp -d)/jaxrl.tar.gz"
  do_it git archive --format=tar.gz --output="$archive" HEAD
  to_all "$archive" jaxrl.tar.gz
  rm -rf "$(dirname "$archive")"
  on all "command -v python3.11 || { $apt update && $apt install -y python3.11 python3.11-venv; }"
  on all "mkdir -p jaxrl && tar -xzf jaxrl.tar.gz -C jaxrl && cd jaxrl &&
    source launch/environment.sh && install_jaxrl tpu,tasks,report"
}

start() { # start COMMAND: a worker that is still training is left alone; run.flags is for resume
  on all "cd jaxrl && if kill -0 \$(cat run.pid) 2>/dev/null; then echo it is running; else $1
    eval \"nohup .venv/bin/python -m launch.train --distributed \$(cat run.flags) \
>>run.log 2>&1 </dev/null &\"; echo \$! >run.pid; fi"
}

[ $# -ge 3 ] || usage
action=$1 name=$2 zone=$3
shift 3

case "$action/$#" in
create/1) create "$1" ;;
mount/1) mount_share "$1" ;;
copy/1) to_all "$1" "$(basename "$1")" ;;
install/0) install ;;
run/[1-9]*) start "echo $(printf '%q' "$(printf '%q ' "$@")") >run.flags" ;;
tail/0) on 0 "tail -n 50 -F jaxrl/run.log" ;;
stop/0) on all "kill -TERM \$(cat jaxrl/run.pid)" ;;
resume/0) start "[ -f run.flags ] || exit 1" ;;
delete/0) delete ;;
*) usage ;;
esac
