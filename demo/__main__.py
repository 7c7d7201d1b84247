"""``python -m demo``."""

import sys

from app.errors import AppError
from demo.run import main

try:
    sys.exit(main())
except AppError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(3)
