"""Types as text to copy into a program: C, Rust, Go and Python."""

from __future__ import annotations

from app.btf.declaration import Declaration
from app.btf.declare_c import c

__all__ = ["Declaration", "c"]
