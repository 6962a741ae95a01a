"""A clip that is a part of a file has a path that says which: ``talk.wav#t=1.5,3&channel=1``.

The form is that of the W3C's Media Fragments, so that one column names any clip.
"""

from __future__ import annotations

import os
import re

_PART = re.compile(
    r"(?P<file>.+)#(?:t=(?P<t>[0-9.]+(?:,[0-9.]+)?))?&?(?:channel=(?P<channel>[0-9]+))?", re.DOTALL
)


def name_part(
    file: str, start_s: float = 0.0, end_s: float | None = None, channel: int | None = None
) -> str:
    """Path of a part of ``file``; of the whole file it is the file's.

    Examples
    --------
    >>> name_part("a.wav", 1.5, 3.0), name_part("a.wav", channel=1), name_part("a.wav")
    ('a.wav#t=1.5,3', 'a.wav#channel=1', 'a.wav')
    """
    parts = []
    if start_s or end_s is not None:
        parts.append(f"t={start_s:.12g}" + ("" if end_s is None else f",{end_s:.12g}"))
    if channel is not None:
        parts.append(f"channel={channel}")
    return f"{file}#{'&'.join(parts)}" if parts else file


def split_part(path: str | os.PathLike) -> tuple[str, float, float | None, int | None] | None:
    """File, beginning and end in s, and channel of a path that names a part; None for others.

    Examples
    --------
    >>> split_part("a.wav#t=1.5,3&channel=1"), split_part("a.wav")
    (('a.wav', 1.5, 3.0, 1), None)
    """
    found = _PART.fullmatch(os.fsdecode(path))
    # A file may really be called so.
    if found is None or not (found["t"] or found["channel"]) or os.path.exists(path):
        return None
    start, _, end = (found["t"] or "0").partition(",")
    channel = int(found["channel"]) if found["channel"] else None
    return found["file"], float(start), float(end) if end else None, channel


def name_file(path: str) -> str:
    """File that a clip is, or is a part of."""
    part = split_part(path) if "#" in path else None
    return part[0] if part else path
