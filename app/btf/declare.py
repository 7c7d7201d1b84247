"""Types as text to copy into a program: C, Rust, Go and Python."""

from __future__ import annotations

from app.btf.declaration import Declaration
from app.btf.declare_c import c
from app.btf.declare_go import go
from app.btf.declare_python import python
from app.btf.declare_rust import rust

__all__ = ["Declaration", "c", "go", "python", "rust"]
