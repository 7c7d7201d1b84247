"""Starts recorders quickly: everything is imported once, and each recorder is a fork that does all that the process does.

``python -m tests.recorder.forking DATA`` forks one for each line on standard input and prints its number.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from app.recorder.__main__ import main
from app.timeline.preload import preload


def serve(data: Path) -> None:
    preload("")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.argv = ["recorder", "--data", str(data)]
            os._exit(main())
        print(child, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
