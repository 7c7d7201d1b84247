#!/bin/bash
# All tests, the quick ones first: what is broken should show early.
set -euo pipefail
python=.venv/bin/python
mkdir -p build
"$python" -m pytest -q -m "not slow and not browser and not container" "$@"
"$python" -m pytest -q -m "slow and not browser and not container" "$@"
"$python" -m pytest -q -m "browser and not container" "$@"
"$python" -m pytest -q -m "container" "$@"
