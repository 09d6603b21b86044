#!/bin/bash
# Makes sure that the system has what `make setup` cannot bring itself, and prints the Python to use (3.11 to 3.13):
# Python with its venv module, and libsecret, which azcopy is linked with. Installs what is missing from Debian.
#   prerequisites.sh [python]
set -euo pipefail
# shellcheck source=local/debian.sh
source "$(dirname "$0")/debian.sh"

supported() {
  command -v "$1" >/dev/null &&
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

first_supported() {
  local python
  for python in "$@"; do
    if supported "$python"; then
      echo "$python"
      return
    fi
  done
}

if [ $# -gt 0 ]; then
  python=$1
  if ! supported "$python"; then
    echo "error: PYTHON=$python is not a Python from 3.11 to 3.13" >&2
    exit 1
  fi
else
  candidates=(python3 python3.13 python3.12 python3.11)
  python=$(first_supported "${candidates[@]}")
  if [ -z "$python" ]; then
    install python3 python3-venv
    python=$(first_supported "${candidates[@]}")
  fi
  if [ -z "$python" ]; then
    echo "error: no Python from 3.11 to 3.13 here: install one, or name it: make setup PYTHON=/path/to/python3" >&2
    exit 1
  fi
fi

# Debian splits ensurepip from Python; without it a virtual environment has no pip.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  install "$version"
fi

if ! /sbin/ldconfig -p | grep -q 'libsecret-1\.so\.0'; then
  install libsecret-1-0
fi

echo "$python"
