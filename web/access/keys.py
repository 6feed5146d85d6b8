"""Who somebody is: the host of this server, a guest of one call, an overlay, or nobody.

In: tokens, and what was sealed here before. Out: `Host`, `Guest` or `Overlay`. What each may do is
in `web.access.gate`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography.fernet import Fernet, InvalidToken
from fastapi.requests import HTTPConnection

from realtime.sources.file import is_url
from web.errors import ApiError
from web.settings import ServerSettings

ERASE_TOKEN = "Erase-Token"
"""The header with a guest's secret: given when they publish, and shown to erase that later, also
when the cookie or the server's key to it is no more."""


@dataclass(frozen=True, slots=True)
class Host:
    """Whoever has the server's token; on an open server, everybody."""


@dataclass(frozen=True, slots=True)
class Guest:
    """One browser that was let in by the link to a call.

    Attributes:
        secret: its own. Who shows it, also after a restart, may erase what the browser published.
        room: of the call.
        link: the number of the link that let it in; see `Call`.
    """

    secret: str
    room: str
    link: str

    @property
    def owner(self) -> str:
        """By which what it publishes is known as its own: of the secret only this is stored."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Overlay:
    """A page in a streaming program, whose address lets it read one session and nothing else.

    Attributes:
        session: the id of that session.
    """

    session: str

    @property
    def owner(self) -> str:
        """All overlays of a session count as one."""
        return f"overlay {self.session}"


Caller: TypeAlias = Host | Guest | Overlay


def caller_of(connection: HTTPConnection) -> Caller:
    """Who sent a request that was let through."""
    caller: Caller = connection.state.caller
    return caller


def sending_guest(connection: HTTPConnection) -> Guest | None:
    """The guest who sent it; None: the host."""
    caller = caller_of(connection)
    return caller if isinstance(caller, Guest) else None


class Keys:
    """What lets people in, and tells afterwards who they are.

    Cookies and links to calls are sealed: nobody can make or change one, or read what it says. The
    key to them is made at start and kept nowhere.

    Attributes:
        open: whether nobody needs any.
        token: the host's; None if the server is open.
        guest_s: how long a link to a call, and the cookie that a guest gets for it, are good.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.open = settings.open
        self.token = None if self.open else settings.token or secrets.token_urlsafe(24)
        self.guest_s = round(settings.guest_hours * 3600)
        self._fernet = Fernet(Fernet.generate_key())

    def is_token(self, text: str) -> bool:
        """Whether `text` is the host's token; takes as long whether much of it fits or little."""
        return self.token is not None and secrets.compare_digest(text.encode(), self.token.encode())

    def link(self, room: str, number: str) -> str:
        """The path of the page by which guests join a call, with what lets them in.

        Args:
            number: of the link; see `Call`.
        """
        path = f"/calls/{room}"
        return path if self.open else f"{path}?token={self._seal('join', room, number)}"

    def invited(self, text: str, room: str) -> str | None:
        """The number of the link, if `text` is what `link` gave for that room, and not too old."""
        match self._unseal("join", text, self.guest_s):
            case [of, number] if of == room:
                return number
        return None

    def overlay(self, session: str) -> str:
        """The path of the page that shows a session in a streaming program; it is good until the
        server ends."""
        path = f"/overlay/{session}"
        return path if self.open else f"{path}?token={self._seal('overlay', session)}"

    def overlay_of(self, text: str) -> Overlay | None:
        """The overlay, if `text` is the token that `overlay` gave for one."""
        words = self._unseal("overlay", text, None)
        return None if words is None else Overlay(*words)

    def cookie(self, caller: Host | Guest) -> str:
        """What a browser shows from now on to be known again."""
        if isinstance(caller, Guest):
            return self._seal("guest", caller.secret, caller.room, caller.link)
        return self._seal("host")

    def by_cookie(self, request: HTTPConnection) -> Host | Guest | None:
        """Who sends it, if a cookie tells."""
        host, guest = (request.cookies.get(cookie_name(request, who), "") for who in (Host, Guest))
        return self.guest(guest) if self._unseal("host", host, None) is None else Host()

    def is_host(self, request: HTTPConnection) -> bool:
        """Whether the host sends it, as far as that is known before a WebSocket's first message."""
        given = bearer(request) or request.query_params.get("token", "")
        return self.open or self.is_token(given) or isinstance(self.by_cookie(request), Host)

    def guest(self, cookie: str) -> Guest | None:
        """The guest whose cookie it is, if it is one and still good."""
        words = self._unseal("guest", cookie, self.guest_s)
        return None if words is None else Guest(*words)

    def _seal(self, *words: str) -> str:
        return self._fernet.encrypt(" ".join(words).encode()).decode()

    def _unseal(self, kind: str, text: str, within_s: int | None) -> list[str] | None:
        try:
            found, *words = self._fernet.decrypt(text.encode(), within_s).decode().split()
        except InvalidToken:
            return None
        return words if found == kind else None


def bearer(request: HTTPConnection) -> str | None:
    """The token in its header ``Authorization: Bearer``."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def cookie_name(request: HTTPConnection, who: type[Host | Guest]) -> str:
    """With the port: servers on several ports of one machine share the cookies of its name."""
    return f"{who.__name__.lower()}-{(request.scope.get('server') or ('', 0))[1]}"


def check_path(settings: ServerSettings, source: str) -> str:
    """The source that a client names, as it may be opened.

    A path is followed to where it really leads before it is judged, and there it is opened.

    Raises:
        ApiError: it is a file of this machine that clients may not name.
        UsageError: it is a URL that cannot be a source.
    """
    if source.partition(":")[0] == "webcam" or is_url(source):
        return source
    try:
        real = Path(source).resolve()
        if any(real.is_relative_to(folder.resolve()) for folder in settings.allow_paths):
            return str(real)
    except (OSError, ValueError, RuntimeError):  # such as a loop of links, or a name of no file
        pass
    raise ApiError(
        403,
        "paths_not_allowed",
        f"{source} lies in no folder that may be opened here: upload it, or start the server with "
        "--allow-paths FOLDER",
    )
