#!/usr/bin/env bash
# Set-up and the main job, on a bare machine with Python 3.11 or newer and two CPU cores.
#
#   bash launch/quickstart.sh                       trains; the report is runs/quickstart/report.html
#   bash launch/quickstart.sh --config.seed=1 --workdir=runs/seed1        further flags go to train.py
#
# Stopped by Ctrl-C or anything else, the same command resumes at the next step.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh

install_jaxrl tasks,report
exec "$python" -m launch.train --config=configs/quickstart.py --workdir=runs/quickstart "$@"
