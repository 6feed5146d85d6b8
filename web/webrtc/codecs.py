"""What of an offer's codecs can be taken, beyond what aiortc knows of them.

In: the media of an SDP offer. Out: an error that names the codecs that can be; or H.264 Main and
High, which FFmpeg decodes, under a name that aiortc accepts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiortc import RTCRtpCodecParameters
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import (
    H264Profile,
    MediaDescription,
    SessionDescription,
    parse_h264_profile_level_id,
)

_TAKEN = {"video": "VP8 or H.264 constrained baseline", "audio": "Opus, G.722 or PCM (G.711)"}

_DECODED = (
    H264Profile.PROFILE_MAIN,
    H264Profile.PROFILE_CONSTRAINED_HIGH,
    H264Profile.PROFILE_HIGH,
)
"""Profiles that aiortc does not negotiate, and that its decoder, which is FFmpeg's, decodes."""

_STANDS_IN = "42e01f"  # constrained baseline, as aiortc has it


def disguised(text: str, description: SessionDescription) -> tuple[str, dict[str, str]]:
    """An offer in which pictures that come as H.264 Main or High alone are called baseline.

    Args:
        text: the offer, parsed as `description`.

    Returns:
        The text for aiortc, and by payload type the true ``profile-level-id`` of each H.264 that
        was renamed; see `undisguised`.
    """
    true: dict[str, str] = {}
    for media in description.media:
        if media.kind == "video" and not _common(media):
            true |= {str(codec.payloadType): _profile(codec) for codec in _decoded(media)}
    for payload_type in true:
        text = _renamed(text, payload_type, _STANDS_IN)
    return text, true


def undisguised(text: str, true: dict[str, str]) -> str:
    """The answer to an offer that was `disguised`: both must name the same profile (RFC 6184)."""
    for payload_type, profile in true.items():
        text = _renamed(text, payload_type, profile)
    return text


def not_taken(media: MediaDescription) -> str:
    """Why no codec of one medium can be taken; empty if one can be, or it is no medium of sound
    or pictures."""
    if media.kind not in _TAKEN or _common(media):
        return ""
    names = [_name(codec) for codec in media.rtp.codecs]
    offered = ", ".join(dict.fromkeys(names))[:200] or "no codec"
    return f"its {media.kind} comes as {offered}: offer {_TAKEN[media.kind]}"


def _common(media: MediaDescription) -> Sequence[RTCRtpCodecParameters]:
    return find_common_codecs(CODECS[media.kind], media.rtp.codecs)


def _decoded(media: MediaDescription) -> list[RTCRtpCodecParameters]:
    """The codecs of a medium that are H.264 of a profile in `_DECODED`."""
    found = []
    for codec in media.rtp.codecs:
        mode = str(codec.parameters.get("packetization-mode"))
        if codec.mimeType.lower() == "video/h264" and mode == "1":
            try:
                profile, _ = parse_h264_profile_level_id(_profile(codec))
            except ValueError:
                continue
            if profile in _DECODED:
                found.append(codec)
    return found


def _profile(codec: RTCRtpCodecParameters) -> str:
    return str(codec.parameters.get("profile-level-id", _STANDS_IN))


def _name(codec: RTCRtpCodecParameters) -> str:
    name = codec.mimeType.partition("/")[2]
    if name.lower() != "h264":
        return name
    mode = codec.parameters.get("packetization-mode", 0)
    return f"H264 (profile-level-id {_profile(codec)}, packetization-mode {mode})"


def _renamed(text: str, payload_type: str, profile: str) -> str:
    """`text` with another ``profile-level-id`` for one payload type."""
    line = rf"(?im)^(a=fmtp:{payload_type} .*profile-level-id=)[0-9a-f]{{6}}"
    return re.sub(line, rf"\g<1>{profile}", text)
