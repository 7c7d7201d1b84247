"""The root of every error that this project raises on purpose."""


class AppError(Exception):
    """Something that the caller can understand: its text is one sentence that says what to do.

    Each room has one base of its own below this; its leaves carry the numbers. Anything that is
    not an AppError is a bug of ours and may show a traceback.
    """


class UsageError(AppError):
    """What was asked for cannot be understood: a malformed key, an unknown option, a bad reference."""


class NeedsRights(AppError):
    """What was asked for takes rights that this process, or this user, does not have."""


class BadSetting(UsageError):
    """A setting's value cannot be used."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(f"setting {name}: {value!r} is not {wanted}")
