"""``python -m app.web``: see serve.py."""

import sys

from app.web.serve import main

sys.exit(main())
