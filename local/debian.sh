# For other scripts to read: installs packages from Debian, as root or with sudo, where apt-get is.

install() {
  local as_root=()
  if ! command -v apt-get >/dev/null; then
    echo "error: $* is missing, and there is no apt-get to install it with: install it, then try again" >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "error: $* is missing: run \`apt-get install $*\` as root, then try again" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "installing $*" >&2
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >&2
}
