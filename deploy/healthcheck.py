"""The container's health: does the web answer, and the broker behind it. Exit status 0 or 1, one line that says why."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> int:
    """Ask /readyz where this container listens."""
    port = os.environ.get("BPF_ATLAS_LISTEN", "127.0.0.1:8470").rpartition(":")[2]
    connection = HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(1000).decode("utf-8", "replace").strip()
    except (OSError, HTTPException) as problem:
        sys.stdout.write(f"the web does not answer: {problem}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{answer.status} {text}\n")
    return 0 if answer.status == 200 else 1  # noqa: PLR2004


if __name__ == "__main__":
    sys.exit(main())
