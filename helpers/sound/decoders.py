"""An audio file as blocks of samples: soundfile for exact formats, PyAV for all others.

soundfile reads WAV, FLAC, AIFF, CAF, AU and W64. It stops at the first stream of an OGG or MP3, so
PyAV reads these, and AAC, M4A, MP4, 3GP, WebM, WMA, AMR and what else is sound. Both give blocks,
so that a long recording needs no more memory than a short one.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile
import soxr

from helpers.errors import UserError
from helpers.sound.containers import describe, find_parts, missing_part

if TYPE_CHECKING:
    import av

_BLOCK_FRAMES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # soundfile's word for a FLAC whose recorder could not fill it in
_PYAV_READS = ("OGG", "MP3")
# PyAV may guess among these only: left alone, it also follows playlists to other files and hosts.
_PYAV_GUESSES = "mp3,aac,ogg,flac,wav,aiff,caf,amr,mov,matroska,asf,au,w64,ac3,eac3,avi,flv,mpegts"
_IN_MEMORY_BYTES = 64 * 2**20
_GUESS_DURATION = ("aac", "amr")  # by bit rate
_TOLERANCE_S = 0.1
_FORMATS = "WAV, FLAC, MP3, OGG, Opus, AIFF, CAF, AAC, M4A, MP4, 3GP, WebM, WMA"


class AudioError(UserError):
    """A recording cannot be used: which one, what it is, what it should be, what to do about it.

    Examples
    --------
    >>> print(AudioError("a.wav", "0 bytes", "a recording", "Copy it again."))
    a.wav: found 0 bytes; expected a recording. Copy it again.
    """

    def __init__(self, file: str, found: str, expected: str, remedy: str) -> None:
        super().__init__(file, found, expected, remedy)  # all in args: it crosses processes
        self.file, self.found, self.expected, self.remedy = file, found, expected, remedy

    def __str__(self) -> str:
        return f"{self.file}: found {self.found}; expected {self.expected}. {self.remedy}"


class _UnreadableError(Exception):
    """This reader does not take the file; perhaps the next one does."""


@contextmanager
def opened(source: object, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Seekable binary file and how to call it, for a path, bytes or a binary file object."""
    label = name or name_source(source)
    if isinstance(source, bytes | bytearray | memoryview):
        opened = io.BytesIO(source)
    elif hasattr(source, "read"):
        opened = nullcontext(source) if source.seekable() else io.BytesIO(source.read())
    else:
        opened = open_file(Path(os.fsdecode(source)), label)
    with opened as file:
        if not file.seek(0, os.SEEK_END):
            raise AudioError(
                label, "an empty file (0 bytes)", "a recording", "Copy or record it again."
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
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            # In memory, decoding is quicker.
            small = status.st_size <= _IN_MEMORY_BYTES
            return io.BytesIO(path.read_bytes()) if small else path.open("rb")
        # A device or pipe could go on for ever.
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        remedy = "Name a file."
    except FileNotFoundError:
        found, remedy = "nothing there", "Check the spelling and the folder."
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        found, remedy = f"an unreadable file ({error})", "Check its permissions."
    raise AudioError(label, found, "a recording", remedy)


def read_blocks(file: BinaryIO, label: str, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a seekable file from its beginning to its end; errors call it ``label``.

    What can be decoded is: of a file that is cut off, what is there; of recordings that were joined
    one after the other, all, at the rate and with the channels of the first.

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
    parts = find_parts(file)
    if len(parts) == 1:
        yield from _read_part(file, label, notes)
        return
    first = refused = None
    for start, end in parts:
        file.seek(start)
        part = io.BytesIO(file.read(end - start))
        try:
            for rate, block in _read_part(part, label, notes):
                first = first or (rate, block.shape[1])
                yield first[0], _conform(block, rate, *first)
        except AudioError as error:
            refused = error
            notes.append(f"of {len(parts)} recordings in it, one was left out: {error.found}")
    if first is None:
        raise refused


def _conform(block: np.ndarray, rate: int, to_rate: int, channels: int) -> np.ndarray:
    """Block with another rate and number of channels."""
    if block.shape[1] != channels:
        block = np.repeat(block.mean(axis=1, keepdims=True), channels, axis=1)
    return block if rate == to_rate else soxr.resample(block, rate, to_rate)


def _read_part(file: BinaryIO, label: str, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    missing = missing_part(file)
    for read in (_read_with_soundfile, _read_with_pyav):
        try:
            yield from read(file, notes)
        except _UnreadableError as error:
            reason = str(error)
            continue
        if missing:
            notes.append(missing)
        return
    if missing:
        remedy = "It is cut off: copy or download it again."
        raise AudioError(label, missing, "a complete recording", remedy)
    found = reason if "sound track" in reason else f"{describe(file)} ({reason})"
    remedy = "It is damaged or cut off, or no recording: copy it again, or convert it to WAV."
    raise AudioError(label, found, f"a recording ({_FORMATS})", remedy)


def _read_with_soundfile(file: BinaryIO, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
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


def _read_with_pyav(file: BinaryIO, notes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    import av  # heavy, and most corpora never need it

    file.seek(0)
    done_s, n_good, n_bad = 0.0, 0, 0
    options = {"format_whitelist": _PYAV_GUESSES}
    try:
        with av.open(file, metadata_errors="replace", options=options) as sound:
            if not sound.streams.audio:
                raise _UnreadableError("no sound track in it")
            for frame in _to_planar_float(_decode(sound, sound.streams.audio[0])):
                if frame is None:
                    n_bad += 1
                    continue
                n_good += 1
                done_s += frame.samples / frame.sample_rate
                yield frame.sample_rate, frame.to_ndarray().T
            promised_s = (sound.duration or 0) / av.time_base
            if sound.format.name not in _GUESS_DURATION and done_s < promised_s - _TOLERANCE_S:
                notes.append(f"it is cut off ({promised_s:.2f} s, of which {done_s:.2f} are there)")
            if len(sound.streams.audio) > 1:
                notes.append(f"the first of {len(sound.streams.audio)} sound tracks was used")
    except av.FFmpegError as error:
        if not n_good:
            raise _UnreadableError(error.strerror) from error
        notes.append(f"it ends in an error ({error.strerror})")
    if n_good <= n_bad:
        raise _UnreadableError("0 samples")
    if n_bad and not notes:
        notes.append(f"{n_bad} damaged packets were left out")


def _decode(sound: av.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame | None]:
    """Frames of a stream, and None for a packet that does not decode."""
    import av

    started = False
    for packet in sound.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if not started:
                raise
            yield None
            continue
        started = started or bool(frames)
        yield from frames


def _to_planar_float(frames: Iterator[av.AudioFrame | None]) -> Iterator[av.AudioFrame | None]:
    """Frames as float, at the rate and with the channels of the first."""
    import av

    converter = kind = first = None
    for frame in frames:
        if frame is None:
            yield None
            continue
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
