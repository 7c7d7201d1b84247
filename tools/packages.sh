#!/bin/bash
# Installs the Debian packages that are missing, and only those.
#   packages.sh run|test ...
set -euo pipefail

declare -A NEED=(
  # what the product runs with; clang, headers and libbpf are for the demo's programs
  [run]="python3 python3-venv clang llvm libbpf-dev libbpf1 linux-libc-dev iproute2 make"
  # what the tests compare with and drive
  [test]="bpftool libbpf-tools xdp-tools chromium fonts-dejavu-core buildah runc mmdebstrap procps util-linux postgresql"
)

missing=()
for group in "$@"; do
  for package in ${NEED[$group]}; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >build-apt.log 2>&1 || { tail -20 build-apt.log; exit 1; }
rm -f build-apt.log
