#!/bin/bash
# Builds the container image from the Dockerfile by buildah: no daemon, nothing pulled from a registry.
#   image.sh [--store DIR] [--fresh] [TAG]
# The base is Debian's own packages (this host's release), kept in the store until the recipe changes or --fresh asks
# for today's packages. Wheels are fetched outside the container, by the host's pip settings, and checked by hash twice.
# --store: where buildah keeps images, instead of root's own store that podman shows as well.
set -euo pipefail
cd "$(dirname "$0")/.."

store=() fresh="" tag=""
while [ $# -gt 0 ]; do
  case $1 in
    --store) mkdir -p "$2"; store=(--root "$(realpath "$2")" --runroot "$(realpath "$2")/run"); shift ;;
    --fresh) fresh=1 ;;
    -*) echo "image.sh: no option $1; see its head" >&2; exit 2 ;;
    *) tag=$1 ;;
  esac
  shift
done
tag=${tag:-bpf-atlas:latest}
[ "$(id -u)" = 0 ] || { echo "image.sh: making a root file system takes root: run it with sudo" >&2; exit 1; }
for tool in buildah mmdebstrap; do
  command -v "$tool" >/dev/null || { echo "image.sh: $tool is missing: tools/packages.sh test installs it" >&2; exit 1; }
done
buildah() { command buildah "${store[@]}" "$@"; }

work=build/image
mkdir -p "$work"
exec 9>"$work/lock"
flock 9

# ---- base ---------------------------------------------------------------------------------------------------------
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
recipe=(--variant=essential --include=python3,python3-venv,libstdc++6
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')
base=localhost/bpf-atlas-base:$suite-$(printf '%s\n' "$suite" "${recipe[@]}" | sha256sum | cut -c1-12)
if [ -n "$fresh" ] || ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  echo "making $base"
  mmdebstrap --quiet "${recipe[@]}" "$suite" "$work/base.tar"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base.tar" / >/dev/null
  buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
  buildah commit --quiet --rm "$container" "$base" >/dev/null
  rm -f "$work/base.tar"
fi

# ---- wheels, for the Python of that base, which is this host's ----------------------------------------------------
wheels=$work/wheels-$(sha256sum requirements/run.txt | cut -c1-12)
if [ ! -d "$wheels" ]; then
  [ -x "$work/pip/bin/pip" ] || /usr/bin/python3 -m venv --clear "$work/pip"
  rm -rf "$work"/wheels-* "$work/wheels.part"
  "$work/pip/bin/pip" --disable-pip-version-check download --quiet --require-hashes --no-deps --only-binary :all: \
    --requirement requirements/run.txt --dest "$work/wheels.part"
  mv "$work/wheels.part" "$wheels"
fi

# ---- image ---------------------------------------------------------------------------------------------------------
# chroot isolation works without rights over cgroups and resource limits; the docker format is the one with HEALTHCHECK.
buildah bud --quiet --isolation chroot --pull-never --layers --format docker \
  --build-arg "BASE=$base" --build-arg PIP_NO_INDEX=1 --build-context "wheels=$(realpath "$wheels")" --tag "$tag" . >/dev/null
echo "built $tag; how to run it: docs/container.md"
