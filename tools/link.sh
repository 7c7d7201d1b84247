#!/bin/bash
# Makes this checkout importable in an environment, and puts the command into it; no build backend is needed for that.
#   link.sh VENV
set -euo pipefail
venv=$1
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$site/bpf-atlas.pth"
cat >"$venv/bin/bpf-atlas" <<SCRIPT
#!$(pwd)/$venv/bin/python
from app.cli.main import main

main()
SCRIPT
chmod +x "$venv/bin/bpf-atlas"
