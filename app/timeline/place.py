"""Where the history of a data directory is, and whose it is: the recorder writes it, the web's account may read it."""

from __future__ import annotations

import os
from pathlib import Path

from app.history.database import Database, Upkeep, open_reading, open_writing
from app.history.errors import DatabaseUnusable
from app.history.history import History
from app.history.writer import Writer
from app.settings import Settings
from app.uapi import confine

FOLDER_MODE, FILE_MODE = 0o2750, 0o640
"""Files that SQLite makes beside the database belong to the folder's group, too."""


def prepare(settings: Settings) -> None:
    """Make the folder and an empty file, as root for the recorder's account. raises DatabaseUnusable"""
    if settings.database_url:
        return
    folder, path = settings.history_folder, Path(settings.history_url.removeprefix("sqlite:///"))
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        os.fchmod(made, FILE_MODE)
        os.close(made)
        if os.geteuid() == 0:
            uid, _ = confine.account(settings.recorder_user)
            _, gid = confine.account(settings.web_user)
            for each in (folder, *folder.iterdir()):
                os.chown(each, uid, gid, follow_symlinks=False)
        folder.chmod(FOLDER_MODE)
    except OSError as problem:
        raise DatabaseUnusable(str(path), problem.strerror or str(problem)) from problem


def writer(settings: Settings, host: str) -> Writer:
    """The history to write; one process at a time. raises OtherRecorder, TooNew, DatabaseUnusable"""
    mask = os.umask(0o027)
    try:
        database: Database = open_writing(settings.history_url, host=host)
    finally:
        os.umask(mask)
    return Writer(database)


def reader(settings: Settings) -> History:
    """The history to read. raises NoHistory, DatabaseUnusable, TooNew"""
    return History(open_reading(settings.history_url, Upkeep.NOBODY if settings.is_alone else Upkeep.RECORDER))
