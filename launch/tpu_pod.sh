#!/usr/bin/env bash
# A run on every worker of a TPU slice, from a machine on which gcloud is logged in.
#
#   bash launch/tpu_pod.sh create  NAME ZONE TYPE     for instance v6e-64; QUEUED=1 waits for capacity
#   bash launch/tpu_pod.sh install NAME ZONE          this checkout and a .venv on every worker
#   bash launch/tpu_pod.sh run     NAME ZONE FLAGS    train.py everywhere, in the background
#   bash launch/tpu_pod.sh tail    NAME ZONE          what worker 0 says
#   bash launch/tpu_pod.sh stop    NAME ZONE          SIGTERM: a checkpoint, then the end
#   bash launch/tpu_pod.sh delete  NAME ZONE
#
# `run` again with the same flags resumes. --workdir must be storage that all workers see: gs://…
# DRY_RUN=1 prints the commands instead. VERSION: the image of the TPU's kind.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,13s/^# \{0,1\}//p' launch/tpu_pod.sh >&2
  exit 2
}

do_it() { # prints what it runs; with DRY_RUN that is all
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ -n "${DRY_RUN:-}" ] || "$@"
}

on_all() { # on_all COMMAND: in the checkout on every worker
  do_it gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="cd jaxrl && $1"
}

[ $# -ge 3 ] || usage
action=$1 name=$2 zone=$3
shift 3

case "$action" in
create)
  [ $# = 1 ] || usage
  common=(--zone="$zone" --accelerator-type="$1")
  if [ -n "${QUEUED:-}" ]; then
    do_it gcloud compute tpus queued-resources create "$name" --node-id="$name" "${common[@]}" \
      --runtime-version="${VERSION:-v2-alpha-tpuv6e}"
  else
    do_it gcloud compute tpus tpu-vm create "$name" "${common[@]}" \
      --version="${VERSION:-v2-alpha-tpuv6e}"
  fi
  ;;
install)
  archive="$(mktemp --suffix=.tar.gz)"
  trap 'rm -f "$archive"' EXIT
  git archive --format=tar.gz --output="$archive" HEAD # what is committed, no more
  do_it gcloud compute tpus tpu-vm scp "$archive" "$name:jaxrl.tar.gz" --zone="$zone" --worker=all
  do_it gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="mkdir -p jaxrl && tar -xzf jaxrl.tar.gz -C jaxrl"
  on_all "source launch/environment.sh && install_jaxrl tpu,tasks,report"
  ;;
run)
  [ $# -ge 1 ] || usage
  flags="$(printf ' %q' "$@")"
  on_all "nohup .venv/bin/python -m launch.train --distributed$flags >run.log 2>&1 </dev/null &"
  ;;
tail)
  do_it gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=0 \
    --command="tail -n 50 -f jaxrl/run.log"
  ;;
stop)
  on_all "pkill -TERM -f launch.train"
  ;;
delete)
  do_it gcloud compute tpus tpu-vm delete "$name" --zone="$zone" --quiet
  ;;
*)
  usage
  ;;
esac
