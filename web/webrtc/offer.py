"""An SDP offer, looked at before aiortc takes it.

In: the text a client sent. Out: what aiortc can answer, in bounded time; or one clear error. What
is refused here would else break off later, in tasks of aiortc's that nobody sees.
"""

from __future__ import annotations

import ipaddress
import re
from itertools import islice

from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from web.errors import ApiError
from web.webrtc.codecs import disguised, not_taken, undisguised

MAX_LINES = 1000
"""Of an offer, or of a fragment with candidates. Browsers send about 250."""

MAX_MEDIA = 16
"""Of an offer. Browsers send up to 3: sound, pictures, data channels."""

MAX_WILDCARDS = 16
"""Of an offer's lines of feedback for every codec (``a=rtcp-fb:*``), each of which the parser notes
with each codec: 500 of them beside 350 codecs took 2.2 s of a slow core. Browsers send none."""

MAX_CANDIDATES = 64
"""Of one peer; more are passed over. Each costs some packets, to an address the peer chooses."""


class Offer:
    """An offer that can be answered.

    Args:
        text: what was sent.
        receives: whether we receive its media, of which we can decode more than we can send.
        channels: whether it may ask for data channels, whose messages cost more than media.

    Attributes:
        text: for aiortc, without the candidates that are passed over.
        candidates: how many it has.
        usernames: its ICE username fragments.

    Raises:
        ApiError: it is none.
    """

    def __init__(self, text: str, *, receives: bool, channels: bool) -> None:
        lines = _explicit(bounded_lines(text))
        if sum(line.startswith("m=") for line in lines) > MAX_MEDIA:
            raise _bad(f"it has more than {MAX_MEDIA} media")
        if sum(line.startswith("a=rtcp-fb:*") for line in lines) > MAX_WILDCARDS:
            raise _bad(f"it has more than {MAX_WILDCARDS} lines of feedback for every codec")
        if not _SETUPS.issuperset(line for line in lines if line.startswith("a=setup:")):
            raise _bad("a setup in it is none of actpass, active and passive")
        taken = set(islice(filter(_is_usable_line, lines), MAX_CANDIDATES))
        self.candidates = len(taken)
        self.text = "\r\n".join(
            line for line in lines if not line.startswith(_CANDIDATE) or line in taken
        )
        try:
            description = SessionDescription.parse(self.text + "\r\n")
            self._profiles: dict[str, str] = {}
            if receives:
                self.text, self._profiles = disguised(self.text, description)
            if self._profiles:
                description = SessionDescription.parse(self.text + "\r\n")
            _check(description, channels)
        except ApiError:
            raise
        except Exception as error:  # the parser has no exception of its own
            raise _bad("one of its lines cannot be read") from error
        self.usernames = {media.ice and media.ice.usernameFragment for media in description.media}

    def answered(self, answer: str) -> str:
        """The answer of aiortc, as the sender of the offer expects it."""
        return undisguised(answer, self._profiles)


def bounded_lines(text: str) -> list[str]:
    """The lines of an offer or a fragment; `ApiError` if there are more than `MAX_LINES`."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise ApiError(413, "too_big", f"an SDP may have at most {MAX_LINES} lines")
    return lines


def _explicit(lines: list[str]) -> list[str]:
    """The lines and what they leave unsaid: directions (RFC 8866) and static codecs (RFC 3551)."""
    session, *media = _sections(lines)
    default = next((line for line in session if line in _DIRECTIONS), "a=sendrecv")
    for section in media:
        if section[0].startswith("m=application"):
            continue
        if _DIRECTIONS.isdisjoint(section):
            section.append(default)
        for number, codec in _STATIC.items():
            mapping = f"a=rtpmap:{number} "
            if number in section[0].split()[3:] and not any(
                line.startswith(mapping) for line in section
            ):
                section.append(mapping + codec)
    return [line for section in (session, *media) for line in section]


def _sections(lines: list[str]) -> list[list[str]]:
    """The lines of the session, then those of each medium."""
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    return sections


_DIRECTIONS = frozenset({"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"})
_SETUPS = frozenset({"a=setup:actpass", "a=setup:active", "a=setup:passive"})
_STATIC = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}


def is_usable(candidate: str) -> bool:
    """Whether media could flow to a candidate: UDP, to one address, given as a number.

    Names are not looked up, neither in the DNS nor by multicast as those that end in ``.local``: a
    peer that hides its address behind one is found when it first speaks to us.

    Raises:
        ValueError, IndexError, AssertionError: it is no candidate.
    """
    found = candidate_from_sdp(candidate)
    try:
        address = ipaddress.ip_address(found.ip)
    except ValueError:
        return False
    return (
        found.protocol.lower() == "udp"
        and 0 < found.port < 65536
        and not address.is_multicast
        and not address.is_unspecified
        and "%" not in found.ip
    )


_CANDIDATE = "a=candidate:"


def _is_usable_line(line: str) -> bool:
    try:
        return line.startswith(_CANDIDATE) and is_usable(line.removeprefix(_CANDIDATE))
    except (ValueError, IndexError, AssertionError) as error:
        raise _bad(f"no ICE candidate: {line[:200]}") from error


def _check(description: SessionDescription, channels: bool) -> None:
    """Raise `ApiError` if aiortc could not go through with `description`."""
    mids = [media.rtp.muxId for media in description.media]
    if len(set(mids)) < len(mids):
        raise _bad("two of its media have the same mid")
    kinds = [media.kind for media in description.media]
    if kinds.count("application") > channels:
        most = "one data channel" if channels else "sound and pictures only"
        raise _bad(f"it may ask for {most} here (media of kind application)")
    for media in description.media:
        if problem := _problem(media):
            raise _bad(problem)
        if refusal := not_taken(media):
            raise ApiError(400, "bad_offer", refusal)
    for group in description.group:
        if group.semantic == "BUNDLE" and not set(group.items) <= set(mids):
            raise _bad("its BUNDLE names a mid that it does not have")


def _problem(media: MediaDescription) -> str:
    """What is wrong with one medium; empty if nothing is."""
    if media.kind not in ("audio", "video", "application"):
        return f"media of kind {media.kind[:20]!r} are unknown"
    if media.rtp.muxId is None or len(media.rtp.muxId) > 64:
        return "a mid is empty, or longer than 64 characters"
    ice = media.ice
    if ice is None or not re.fullmatch(r"[a-zA-Z0-9+/]{4,256}", ice.usernameFragment or ""):
        return "its ice-ufrag is missing, or not of 4 to 256 letters, digits, + and /"
    if not re.fullmatch(r"[a-zA-Z0-9+/]{22,256}", ice.password or ""):
        return "its ice-pwd is missing, or not of 22 to 256 letters, digits, + and /"
    if media.dtls is None or not media.dtls.fingerprints:
        return "its setup or its fingerprint is missing: media must be encrypted by DTLS-SRTP"
    if media.kind == "application":
        if media.profile == "DTLS/SCTP" and not str(media.fmt[0]).isdecimal():
            return "its SCTP port is no number"
        if media.profile != "DTLS/SCTP" and not 0 < (media.sctp_port or 0) < 65536:
            return "its sctp-port is missing, or out of range"
    elif not media.rtcp_mux:
        return "its rtcp-mux is missing"
    if any(not 0 < extension.id < 256 for extension in media.rtp.headerExtensions):
        return "an extmap has a number that is out of range"
    if any(not 0 <= source.ssrc < 1 << 32 for source in media.ssrc):
        return "an ssrc is out of range"
    return ""


def _bad(problem: str) -> ApiError:
    return ApiError(
        400, "bad_offer", f"the SDP offer cannot be used ({problem}): send one of WebRTC's"
    )
