#!/bin/bash
# All tests, the quick ones first: what is broken should show early. The broker's slow ones, each some minutes of hammering
# at one process, run beside all others.
set -euo pipefail
python=.venv/bin/python
mkdir -p build
"$python" -m pytest -q -m "slow" tests/broker "$@" >build/broker-slow.log 2>&1 &
hammering=$!
trap 'kill "$hammering" 2>/dev/null || true' EXIT
"$python" -m pytest -q -m "not slow and not browser and not container" "$@"
"$python" -m pytest -q -m "slow and not browser and not container" --ignore=tests/broker "$@"
"$python" -m pytest -q -m "browser and not container" "$@"
"$python" -m pytest -q -m "container" "$@"
status=0
wait "$hammering" || status=$?
trap - EXIT
cat build/broker-slow.log
exit "$status"
