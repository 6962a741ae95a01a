"""What an audio file is by its first bytes, and whether it holds all that it promises.

Decoders return what they can: half a WAV, MP3 or OGG decodes silently short. The containers know
better, and a few bytes of each tell.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

# Sloppy writers of WAV miscount by a header; 64 bytes are 2 ms of 16-bit sound at 16 kHz.
_TOLERANCE_BYTES = 64
# "Size unknown": a recorder that wrote into a pipe could not come back to fill it in.
_STREAMING_FROM = 0x7FFFF000
_OGG_PAGE_MAX = 27 + 255 + 255 * 255

_OGG_BEGINS = 2
_SEARCHED_BYTES = 64 * 2**20
#: What a recording of a format begins with, in a file of several; of OGG each page, with its flags.
_PART = {
    "wav": rb"RIFF.{4}WAVE",
    "flac": rb"fLaC[\x00\x80]\x00\x00\x22",
    "ogg": rb"OggS\x00(.)",
}

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_SEGMENT = bytes.fromhex("18538067")
_MAGIC = {
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"caff": "caf",
    b"#!AMR": "amr",
    bytes.fromhex("1a45dfa3"): "matroska",
    _ASF_HEADER: "asf",
}


def sniff(file: BinaryIO) -> str | None:
    """Name of the container that a file is by its first bytes, None when it is no known one.

    One of ``wav aiff caf flac ogg mp3 adts amr mp4 matroska asf``.

    Examples
    --------
    >>> import io
    >>> sniff(io.BytesIO(b"fLaC"))
    'flac'
    """
    head = _read_at(file, _id3_length(file), 16)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return "mp4"
    # QuickTime may begin with room that is left; a note may begin with "The wide", but not with 0.
    if head[4:8] in (b"wide", b"free", b"skip") and head[0] == 0:
        return "mp4"
    return _sniff_mpeg(head)


def _sniff_mpeg(head: bytes) -> str | None:
    """Tell MP3 and bare AAC, which have no magic number, from noise by their first frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "adts" if (head[2] >> 2) & 15 < 13 else None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    reserved = version == 1 or layer == 0 or bit_rate == 15 or sample_rate == 3
    return None if reserved else "mp3"


def describe(file: BinaryIO) -> str:
    """Say in a few words what a file is that is no audio: text, or its first bytes."""
    head = _read_at(file, 0, 200)
    text = head.decode("utf-8", errors="ignore")  # the last character may be cut
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return f"text, beginning {text[:24]!r}"
    return f"no audio known here, beginning {head[:16].hex(' ')}"


def missing_part(file: BinaryIO) -> str | None:
    """Say what a cut-off file lacks, None when nothing is known to be missing.

    For example ``"data chunk of 64000 bytes, of which 32000 are there"``.
    """
    kind = sniff(file)
    if kind == "ogg":
        return _unfinished_ogg(file)
    chunks = _CHUNKS.get(kind)
    if chunks is None:
        return None
    end = file.seek(0, os.SEEK_END)
    for label, start, length in chunks(file):
        if start + length > end + (_TOLERANCE_BYTES if kind == "wav" else 0):
            return f"{label} of {length} bytes, of which {max(end - start, 0)} are there"
    return None


def has_frame_count(file: BinaryIO) -> bool:
    """Whether an MP3 says in its first frame how long it is (a Xing or Info tag)."""
    # The tag follows the header and the side information, which is 9 to 32 bytes long.
    first = _read_at(file, _id3_length(file), 4 + 32 + 4)
    return b"Xing" in first or b"Info" in first


def find_parts(file: BinaryIO) -> list[tuple[int, int]]:
    """Where each of several recordings in one file begins and ends; mostly it is only one.

    An internet radio begins a new OGG stream for each piece, and people join files with ``cat``.
    Formats that read on by themselves, such as MP3, are one part. So is what is larger than 64 MB.
    """
    size = file.seek(0, os.SEEK_END)
    pattern = _PART.get(sniff(file))
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


def _id3_length(file: BinaryIO) -> int:
    """Length of the tag before the sound, 0 without one; a cover picture makes it long."""
    head = _read_at(file, 0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    a, b, c, d = (byte & 0x7F for byte in head[6:])
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _iff(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """The sound chunk of WAV and AIFF; other chunks may be cut without loss."""
    file.seek(0)
    order = "<" if file.read(4) in (b"RIFF", b"RF64") else ">"
    position, long = 12, 0
    while len(header := _read_at(file, position, 8)) == 8:
        name, length = struct.unpack(order + "4sI", header)
        if name == b"ds64":  # RF64 keeps the length of its data there
            long = int.from_bytes(_read_at(file, position + 16, 8), "little")
        if name in (b"data", b"SSND"):
            if long and length == 0xFFFFFFFF:
                yield "data chunk", position + 8, long
            elif 0 < length < _STREAMING_FROM:
                yield f"{name.decode()} chunk", position + 8, length
            return
        position += 8 + length + length % 2


def _caf(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    position = 8
    while len(header := _read_at(file, position, 12)) == 12:
        name, length = struct.unpack(">4sq", header)
        if name == b"data" or length < 0:
            if length > 0:
                yield "data chunk", position + 12, length
            return
        position += 12 + length


def _mp4(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    position = 0
    while len(header := _read_at(file, position, 16)) >= 8:
        length, name = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        if length < 8:  # 0: up to the end
            return
        if name in (b"moov", b"mdat", b"moof"):
            yield f"{name.decode()} box", position, length
        position += length


def _asf(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    position = 0
    while len(header := _read_at(file, position, 24)) == 24:
        name, length = struct.unpack("<16sQ", header)
        if length < 24:
            return
        if name in (_ASF_HEADER, _ASF_DATA):
            yield "data object" if name == _ASF_DATA else "header object", position, length
        position += length


def _matroska(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    length, width = _ebml_length(_read_at(file, 4, 8))
    if length is None:
        return
    position = 4 + width + length
    header = _read_at(file, position, 12)
    length, width = _ebml_length(header[4:])
    if header[:4] == _SEGMENT and length is not None:
        yield "segment", position + 4 + width, length


def _ebml_length(data: bytes) -> tuple[int | None, int]:
    """Length and its width in bytes; None when the length is left open, as live recorders do."""
    width = 9 - data[0].bit_length() if data else 9
    if width > 8 or len(data) < width:
        return None, width
    most = (1 << 7 * width) - 1
    length = int.from_bytes(data[:width], "big") & most
    return (None if length == most else length), width


def _adts(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    position = _id3_length(file)
    while (header := _read_at(file, position, 7)).startswith(b"\xff"):
        if len(header) < 7:
            yield "frame header", position, 7
            return
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        if length < 7:
            return
        yield "frame", position, length
        position += length


def _unfinished_ogg(file: BinaryIO) -> str | None:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - _OGG_PAGE_MAX, 0))
    tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return "a last page whose header is cut"
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < length:
        return f"a last page of {length} bytes, of which {len(page)} are there"
    return None


def _read_at(file: BinaryIO, position: int, length: int) -> bytes:
    try:
        file.seek(position)
    except (OverflowError, ValueError, OSError):  # a hostile length: beyond any file
        return b""
    return file.read(length)


_CHUNKS = {
    "wav": _iff,
    "aiff": _iff,
    "caf": _caf,
    "mp4": _mp4,
    "asf": _asf,
    "matroska": _matroska,
    "adts": _adts,
}
