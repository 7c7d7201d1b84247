#!/bin/bash
# All tests, in three rows beside each other. Only the first row uses the demo and the browser: a host has room for one demo. The
# second is pages without a browser, then minutes of hammering at one process; the third needs nothing but itself.
set -euo pipefail
python=.venv/bin/python
hammered="tests/broker/test_edits_process.py"
past="tests/web/test_api_snapshots.py tests/web/test_diff.py tests/web/test_restore.py tests/web/test_snapshots.py tests/web/test_story.py"
apart="tests/broker tests/btf tests/columns tests/history tests/hostile tests/maps tests/recorder tests/uapi tests/wire"
serving="tests/cli tests/history tests/hostile tests/web"
quick="not slow and not browser and not container"
slow="slow and not browser and not container"
mkdir -p build

without() { for folder in $1; do printf -- '--ignore=%s\n' "$folder"; done; }

# shellcheck disable=SC2046,SC2086
hammering() {
  "$python" -m pytest -q -m "$quick" tests/web $(without "$past") "$@"
  "$python" -m pytest -q -m "$slow" $hammered "$@"
}

# shellcheck disable=SC2086
by_itself() {
  "$python" -m pytest -q -m "$quick" $apart $past "$@"
  "$python" -m pytest -q -m "$slow" $serving "$@"
}

beside=()
for row in hammering by_itself; do
  (set -e; "$row" "$@") >"build/$row.log" 2>&1 &
  beside+=($!)
done
# What fails in the first row ends the others, too: each is a shell with one session of tests below it.
trap 'for job in "${beside[@]}"; do pkill -P "$job" || true; kill "$job" 2>/dev/null || true; done' EXIT
mapfile -t elsewhere < <(without "$apart tests/web")
"$python" -m pytest -q -m "$quick" "${elsewhere[@]}" "$@"
mapfile -t elsewhere < <(without "$hammered $serving")
"$python" -m pytest -q -m "$slow" "${elsewhere[@]}" "$@"
"$python" -m pytest -q -m "browser and not container" "$@"
"$python" -m pytest -q -m "container" "$@"
status=0
for job in "${beside[@]}"; do wait "$job" || status=$?; done
trap - EXIT
cat build/hammering.log build/by_itself.log
exit "$status"
