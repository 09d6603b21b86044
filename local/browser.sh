#!/bin/bash
# Makes sure that the system has Chromium, which the tests of the status page drive. Only they need it.
# It depends on fontconfig, and that on a font: text renders without more.
set -euo pipefail
# shellcheck source=local/debian.sh
source "$(dirname "$0")/debian.sh"

if [ ! -x /usr/bin/chromium ]; then
  install chromium
fi
