"""What every ``declare_*`` module returns."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TEXT = 4 << 20
"""Characters of a declaration; the whole of a kernel's task_struct needs a tenth of that."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A type as text of one language, with everything that it needs, in order."""

    text: str
    warnings: tuple[str, ...]
    """Sentences about where the language's own layout or rules would differ, or what the text leaves out."""
    type_text: str
    """How to refer to the declared type: "struct flow_key", "FlowKey". "" for a section."""
