"""What the bytes of an audio file say that its decoders do not: what is missing, what comes after.

Decoders return what they can: half a WAV decodes silently short, and the second of two joined
recordings is silently left out.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

# Sloppy writers of WAV miscount by a header; 64 bytes are 2 ms of 16-bit sound at 16 kHz.
_TOLERANCE_BYTES = 64
# "Size unknown": a recorder that wrote into a pipe could not come back to fill it in.
_STREAMING_FROM = 0x7FFFF000
_OGG_PAGE_MAX = 27 + 255 + 255 * 255
_OGG_BEGINS = 2
_SEARCHED_BYTES = 64 * 2**20
#: What each recording in a file of several begins with; of OGG each page, with its flags.
_PARTS = {
    b"RIFF": rb"RIFF.{4}WAVE",
    b"fLaC": rb"fLaC[\x00\x80]\x00\x00\x22",
    b"OggS": rb"OggS\x00(.)",
}


def describe(file: BinaryIO) -> str:
    """Say in a few words what a file is that is no audio: text, or its first bytes."""
    file.seek(0)
    head = file.read(200)
    text = head.decode("utf-8", errors="ignore")  # the last character may be cut
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return f"text, beginning {text[:24]!r}"
    return f"no sound that can be decoded, beginning {head[:16].hex(' ')}"


def missing_part(file: BinaryIO) -> str | None:
    """Say what a cut-off WAV, AIFF, CAF or OGG lacks, None when nothing is known to be missing.

    For example ``"it is cut off (data chunk of 64000 bytes, of which 32000 are there)"``. Of other
    formats the decoders say it.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        return _missing_page(file)
    if head[8:] in (b"WAVE", b"AIFF", b"AIFC"):
        return _missing_chunk(file, "<4sI" if head[:4] in (b"RIFF", b"RF64") else ">4sI", start=12)
    if head[:4] == b"caff":
        return _missing_chunk(file, ">4sq", start=8)
    return None


def find_parts(file: BinaryIO) -> list[tuple[int, int]]:
    """Where each of several recordings in one file begins and ends; mostly it is only one.

    An internet radio begins a new OGG stream for each piece, and people join files with ``cat``.
    Formats that read on by themselves, such as MP3, are one part. So is what is larger than 64 MB.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    pattern = _PARTS.get(file.read(4))
    if pattern is None or size > _SEARCHED_BYTES:
        return [(0, size)]
    file.seek(0)
    starts, follows = [], False
    for found in re.finditer(pattern, file.read(), re.DOTALL):
        begins = not found.groups() or bool(found[1][0] & _OGG_BEGINS)
        if begins and not follows:  # tracks side by side begin in a row
            starts.append(found.start())
        follows = begins and bool(found.groups())
    starts[:1] = [0]
    return list(zip(starts, [*starts[1:], size], strict=True))


def _missing_chunk(file: BinaryIO, header: str, *, start: int) -> str | None:
    """Of the sound chunk; other chunks may be cut without loss."""
    end = file.seek(0, os.SEEK_END)
    width, position, long = struct.calcsize(header), start, 0
    while start <= position <= end - width:
        file.seek(position)
        head = file.read(24)
        name, length = struct.unpack(header, head[:width])
        if name == b"ds64":  # RF64 keeps the length of its data there
            long = int.from_bytes(head[16:24], "little")
        if name in (b"data", b"SSND"):
            known = long or 0 < length < _STREAMING_FROM
            length, there = long or length, end - position - width
            if known and length > there + _TOLERANCE_BYTES:
                what = f"{name.decode()} chunk of {length} bytes, of which {there} are there"
                return f"it is cut off ({what})"
            file.seek(position + width + length + length % 2)
            after = file.read(4)
            if known and after and not after.isalnum():  # chunks are called LIST, id3 and so on
                return f"its header says {length} bytes of sound, and {there} are there"
            return None
        padding = length % 2 if width == 8 else 0
        position += width + length + padding
    return None


def _missing_page(file: BinaryIO) -> str | None:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - _OGG_PAGE_MAX, 0))
    tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return "it is cut off (a last page whose header is cut)"
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < length:
        return f"it is cut off (a last page of {length} bytes, of which {len(page)} are there)"
    return None
