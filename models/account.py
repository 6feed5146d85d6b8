"""The account the program runs under, which in a container may have neither a name nor a home.

In: the system's list of accounts, and the environment. Out: an environment with both.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path


def complete_account() -> None:
    """Give the account a name and a home if it has none.

    torch, Matplotlib and others ask for them when they are imported, and fail.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # which it is, depends on Python's version
        os.environ["LOGNAME"] = f"uid-{getattr(os, 'getuid', int)()}"
    if not _home_can_be_entered():
        try:
            os.environ["HOME"] = str(temporary_home())
        except OSError:  # all is read-only, or full: a home is looked into in vain
            os.environ["HOME"] = os.sep


def _home_can_be_entered() -> bool:
    try:
        home = Path.home()
    except RuntimeError:
        return False
    # One that does not exist is no trouble: it is looked into in vain.
    return os.access(home, os.X_OK) or not os.path.lexists(home)


def temporary_home() -> Path:
    """A folder for this account among the temporary files, which nobody else can change."""
    if not hasattr(os, "getuid"):
        return Path(tempfile.gettempdir())  # Windows has one for each account
    folder = Path(tempfile.gettempdir()) / f"live-emotion-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        # Not a link, and of this account: it may have been put there by somebody else.
        if not os.path.isdir(folder) or folder.is_symlink() or status.st_uid != os.getuid():
            return Path(tempfile.mkdtemp(prefix="live-emotion-"))
    return folder


def data_folder() -> Path:
    """Where what the program makes is kept: below the home, if that can be written."""
    home = Path.home()
    folder = home / ".local" / "share" / "live-emotion"
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    if os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK):
        return folder
    return temporary_home() / "share"
