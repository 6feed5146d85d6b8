"""Names of files and devices, as they can be shown and sent.

In: a name as the system gives it, which may hold anything. Out: text.
"""

from __future__ import annotations

import re


def shown(name: str) -> str:
    """`name` on one line: bytes that are no UTF-8 as �, control characters escaped (``\\x1b``)."""
    return CONTROL.sub(_escaped, _SURROGATE.sub("\ufffd", name))


# Python's stand-ins for bytes of a file name that are no UTF-8; no encoder takes them.
_SURROGATE = re.compile("[\ud800-\udfff]")

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor of a terminal, end a line, or turn the direction of writing."""


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
