"""``python -m app.web``: see serve.py."""

import os
import sys

# The checkout may be where only root can go, as below /root. gunicorn, when it is imported, remembers where it stands, and goes
# back there when there is no right left to.
os.chdir("/")

from app.web.serve import main  # noqa: E402  (it imports gunicorn)

sys.exit(main())
