"""An audio file as blocks of samples: soundfile for exact formats, PyAV for all others.

soundfile reads WAV, FLAC, AIFF, CAF, AU and W64. It stops at the first stream of an OGG or MP3, so
PyAV reads these, and joined FLAC, AAC, M4A, MP4, 3GP, WebM, WMA, AMR and what else is sound. Both
give blocks, so that a long recording needs no more memory than a short one.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile

from helpers.errors import UserError

if TYPE_CHECKING:
    import av

_BLOCK_FRAMES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # soundfile's word for a FLAC whose recorder could not fill it in
_FLAC_BEGINS = b"fLaC\x00\x00\x00\x22"
_PYAV_READS = ("OGG", "MP3")
# PyAV may guess among these only: left alone, it also follows playlists to other files and hosts.
_PYAV_GUESSES = "mp3,aac,ogg,flac,wav,aiff,caf,amr,mov,matroska,asf,au,w64,ac3,eac3,avi,flv,mpegts"
_IN_MEMORY_BYTES = 64 * 2**20
_GUESS_DURATION = ("aac", "amr")  # by bit rate
_TOLERANCE_S = 0.1
#: What libsndfile's log says of a WAV or AIFF that is cut off, or has more behind its end.
_CUT = re.compile(r"(?:data|SSND|Riff size) : (\d+) \(should be (\d+)\)")
_GOES_ON = re.compile(r"\*\*\* (Unknown chunk marker|Chunk size \d+ > file length)")
# Sloppy writers of WAV miscount by a header; 64 bytes are 2 ms of 16-bit sound at 16 kHz.
_TOLERANCE_BYTES = 64
# "Size unknown": a recorder that wrote into a pipe could not come back to fill it in.
_STREAMING_FROM = 0x7FFFF000
_OGG_PAGE_MAX = 27 + 255 + 255 * 255
_FORMATS = "WAV, FLAC, MP3, OGG, Opus, AIFF, CAF, AAC, M4A, MP4, 3GP, WebM, WMA"


class AudioError(UserError):
    """A recording cannot be used: which one, what it is, what it should be, what to do about it.

    Examples
    --------
    >>> print(AudioError("a.wav", "0 bytes", "expected a recording. Copy it again."))
    a.wav: found 0 bytes; expected a recording. Copy it again.
    """

    def __init__(self, file: str, found: str, advice: str) -> None:
        super().__init__(file, found, advice)  # all in args: it crosses processes
        self.file, self.found = file, found

    def __str__(self) -> str:
        return "{}: found {}; {}".format(*self.args)


class _UnreadableError(Exception):
    """This reader does not take the file; perhaps the next one does."""


@contextmanager
def opened(source: Any, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Seekable binary file and how to call it, for a path, bytes or a binary file object."""
    label = name or name_source(source)
    if isinstance(source, bytes | bytearray | memoryview):
        opened: Any = io.BytesIO(source)
    elif hasattr(source, "read"):
        opened = nullcontext(source) if source.seekable() else io.BytesIO(source.read())
    else:
        opened = open_file(Path(os.fsdecode(source)), label)
    with opened as file:
        if not file.seek(0, os.SEEK_END):
            raise AudioError(
                label, "an empty file (0 bytes)", "expected a recording. Copy it again."
            )
        file.seek(0)
        yield file, label


def name_source(source: object) -> str:
    """How errors call a recording: its path, or what else is known of it."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    return str(getattr(source, "name", "the sound"))


def open_file(path: Path, label: str) -> BinaryIO:
    """Open a regular file; AudioError says what is there instead."""
    try:
        if path.is_file():
            # In memory, decoding is quicker.
            small = path.stat().st_size <= _IN_MEMORY_BYTES
            return io.BytesIO(path.read_bytes()) if small else path.open("rb")
        # A device or pipe could go on for ever.
        other = "no regular file" if path.exists() else "nothing there"
        found = "a folder" if path.is_dir() else other
    except OSError as error:
        found = f"an unreadable file ({error})"
    raise AudioError(label, found, "expected a recording. Check its name and permissions.")


def read_blocks(file: BinaryIO, label: str, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a seekable file from its beginning to its end; errors call it ``label``.

    What can be decoded is: of a file that is cut off, what is there; of recordings that were joined
    one after the other, all as long as their format goes on.

    Parameters
    ----------
    file : binary file object
    label : str
    notes : list of str
        Takes what was not decoded, in words.

    Yields
    ------
    tuple of (int, np.ndarray)
        Sample rate in Hz, and a float32 block of shape (n, channels). There is at least one.

    Raises
    ------
    AudioError
        Not audio, no sound track in it, or nothing of it can be decoded.
    """
    reason = ""
    for read in (_read_with_soundfile, _read_with_pyav):
        try:
            yield from read(file, notes)
        except _UnreadableError as error:
            reason = str(error)
            continue
        if ("malformed" in reason or "marker" in reason) and not notes:
            notes.append("it is cut off, damaged, or goes on behind its end")
        return
    found = reason if "sound track" in reason else f"{_describe(file)} ({reason})"
    raise AudioError(
        label,
        found,
        f"expected a recording ({_FORMATS}). It is damaged or cut off, or no recording: copy it "
        "again, or convert it to WAV.",
    )


def _describe(file: BinaryIO) -> str:
    """Say in a few words what a file is that is no audio: text, or its first bytes."""
    file.seek(0)
    head = file.read(200)
    text = head.decode("utf-8", errors="ignore")  # the last character may be cut
    if len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text):
        return f"text, beginning {text[:24]!r}"
    return f"no sound that can be decoded, beginning {head[:16].hex(' ')}"


def _read_with_soundfile(file: BinaryIO, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    file.seek(0)
    is_flac = file.read(4) == _FLAC_BEGINS[:4]
    if is_flac and _FLAC_BEGINS in file.read(_IN_MEMORY_BYTES):
        raise _UnreadableError("FLAC is not read behind its first stream")
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: name.raw, format unknown
        raise _UnreadableError(str(error)) from error
    done = 0
    with sound:
        if sound.format in _PYAV_READS:
            raise _UnreadableError(f"{sound.format} is not read to its end")
        while True:
            try:
                block = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError:
                break
            if not len(block):
                break
            done += len(block)
            yield sound.samplerate, block
        if not done:
            # A recorder that wrote into a pipe may leave the length at 0; PyAV reads to the end.
            raise _UnreadableError("0 samples")
        if sound.format == "FLAC" and done < sound.frames < _UNKNOWN_FRAMES:
            notes.append(f"it is cut off ({sound.frames} samples, of which {done} decode)")
        cut = _CUT.search(sound.extra_info)
        promised, there = map(int, cut.groups()) if cut else (0, 0)
        if there + _TOLERANCE_BYTES < promised < _STREAMING_FROM:
            notes.append(f"it is cut off ({promised} bytes of sound, of which {there} are there)")
        elif not cut and _GOES_ON.search(sound.extra_info):
            notes.append("there is more in it behind the end of the sound that its header says")


def _read_with_pyav(file: BinaryIO, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    import av  # heavy, and most corpora never need it

    file.seek(0)
    done_s, n_good = 0.0, 0
    damaged: list[av.Packet] = []
    options: dict[str, Any] = {"options": {"format_whitelist": _PYAV_GUESSES}}
    if int(av.__version__.partition(".")[0]) < 19:  # a tag that is not UTF-8 would stop the sound
        options["metadata_errors"] = "replace"
    try:
        with av.open(file, **options) as sound:
            if not sound.streams.audio:
                raise _UnreadableError("no sound track in it")
            for frame in _to_planar_float(_decode(sound, damaged)):
                n_good += 1
                done_s += frame.samples / frame.sample_rate
                yield frame.sample_rate, frame.to_ndarray().T
            promised_s = (sound.duration or 0) / av.time_base
            if sound.format.name not in _GUESS_DURATION and done_s < promised_s - _TOLERANCE_S:
                notes.append(f"it is cut off ({promised_s:.2f} s, of which {done_s:.2f} are there)")
            elif sound.format.name == "ogg" and _is_page_cut(file):
                notes.append("it is cut off (within its last page)")
            if len(sound.streams.audio) > 1:
                notes.append(f"the first of {len(sound.streams.audio)} sound tracks was used")
    except av.FFmpegError as error:
        if not n_good:
            raise _UnreadableError(error.strerror) from error
        notes.append(f"it ends in an error ({error.strerror})")
    if n_good <= len(damaged):
        raise _UnreadableError("0 samples")
    if damaged and not notes:
        notes.append(f"{len(damaged)} damaged packets were left out")


def _is_page_cut(file: BinaryIO) -> bool:
    """Whether the last page of an OGG is not all there, which FFmpeg takes for its end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - _OGG_PAGE_MAX, 0))
    page = file.read().rpartition(b"OggS")[2]
    sizes = page[23 : 23 + page[22]] if len(page) > 22 else b""
    return len(page) < 23 or len(page) < 23 + page[22] + sum(sizes)


def _decode(sound: av.container.InputContainer, damaged: list) -> Iterator[av.AudioFrame]:
    """Frames of the first sound track; ``damaged`` takes what does not decode."""
    import av

    started = False
    for packet in sound.demux(sound.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if not started:
                raise
            damaged.append(packet)
            continue
        started = started or bool(frames)
        yield from frames


def _to_planar_float(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Frames as float, at the rate and with the channels of the first."""
    import av

    converter: Any = None
    kind = first = None
    for frame in frames:
        found = (frame.sample_rate, frame.layout.name, frame.format.name)
        if found != kind:
            yield from _flush(converter)
            first, kind = first or frame, found
            # The channels stay as they are: asking for mono would add them up.
            converter = av.AudioResampler("fltp", first.layout, first.sample_rate)
        yield from converter.resample(frame)
    yield from _flush(converter)


def _flush(converter: av.AudioResampler | None) -> Iterator[av.AudioFrame]:
    # None where there was nothing to convert.
    return filter(None, converter.resample(None)) if converter else iter(())
