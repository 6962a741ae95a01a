"""An audio file as blocks of samples: soundfile for most formats, PyAV for the others.

soundfile reads WAV, FLAC, MP3, OGG, Opus, AIFF and CAF; PyAV also AAC, M4A, MP4, 3GP, WebM, WMA
and AMR. Both give blocks, so that a long recording needs no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import soundfile

from helpers.errors import UserError
from helpers.sound.containers import describe, has_frame_count, missing_part, sniff

if TYPE_CHECKING:
    import av

_BLOCK_FRAMES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # soundfile's word for a FLAC whose recorder could not fill it in
# PyAV is told what to expect: left to guess, it also follows playlists to other files and hosts.
_PYAV_FORMAT = {"mp4": "mov", "adts": "aac"}
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


def read_blocks(file: BinaryIO, label: str) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a seekable file from its beginning to its end; errors call it ``label``.

    Yields
    ------
    tuple of (int, np.ndarray)
        Sample rate in Hz, and a float32 block of shape (n, channels). There is at least one.

    Raises
    ------
    AudioError
        Not audio, no sound track in it, no samples, cut off or damaged.
    """
    missing = missing_part(file)
    if missing:
        raise _cut_off(label, missing)
    try:
        yield from _read_with_soundfile(file, label)
    except _UnreadableError:
        try:
            yield from _read_with_pyav(file, label)
        except _UnreadableError as error:
            raise _not_audio(file, label, str(error)) from error


def _read_with_soundfile(file: BinaryIO, label: str) -> Iterator[tuple[int, np.ndarray]]:
    kind = sniff(file)
    counts = kind == "flac" or (kind == "mp3" and has_frame_count(file))
    file.seek(0)
    try:
        sound = _ForwardOnly(file)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: name.raw, format unknown
        raise _UnreadableError(str(error)) from error
    done = 0
    with sound:
        while True:
            try:
                block = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                found = f"{sound.frames} samples, of which at most {done} decode"
                raise _cut_off(label, found) from error
            if not len(block):
                break
            done += len(block)
            yield sound.samplerate, block
        # Some MP3 encoders count the frame (1152 samples) in which they write the count.
        promised = sound.frames - (1152 if kind == "mp3" else 0)
        if counts and done < promised < _UNKNOWN_FRAMES:
            raise _cut_off(label, f"{sound.frames} samples, of which {done} are there")
    if not done:
        # A recorder that wrote into a pipe may leave the length at 0; PyAV reads on to the end.
        raise _UnreadableError("0 samples")


def _read_with_pyav(file: BinaryIO, label: str) -> Iterator[tuple[int, np.ndarray]]:
    import av  # heavy, and most corpora never need it

    kind = sniff(file)
    if kind is None:
        raise _UnreadableError("not audio")
    file.seek(0)
    done_s = 0.0
    try:
        with av.open(file, format=_PYAV_FORMAT.get(kind, kind), metadata_errors="replace") as sound:
            if not sound.streams.audio:
                raise _UnreadableError("no sound track in it")
            frames = sound.decode(sound.streams.audio[0])
            for frame in _to_planar_float(frames, label):
                done_s += frame.samples / frame.sample_rate
                yield frame.sample_rate, frame.to_ndarray().T
    except av.FFmpegError as error:
        if done_s:
            raise _cut_off(label, f"sound that ends in an error after {done_s:.2f} s") from error
        raise _UnreadableError(error.strerror) from error
    if not done_s:
        raise _UnreadableError("0 samples")


def _to_planar_float(frames: Iterator[av.AudioFrame], label: str) -> Iterator[av.AudioFrame]:
    import av

    # The layout stays: asking for mono would add the channels up.
    converter = av.AudioResampler(format="fltp")
    first = None
    for frame in frames:
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        first = first or kind
        if kind != first:
            raise AudioError(
                label,
                "a sample rate or number of channels that changes on the way",
                "one rate throughout",
                "Convert it, for example to WAV.",
            )
        yield from converter.resample(frame)
    # What is left in it; None where there was nothing to convert.
    yield from filter(None, converter.resample(None))


class _ForwardOnly(soundfile.SoundFile):
    """soundfile seeks to where it is after each read, and MP3 then loses some of its sound."""

    def seekable(self) -> bool:
        return False


def _cut_off(label: str, missing: str) -> AudioError:
    return AudioError(
        label, missing, "a complete recording", "It is cut off: copy or download it again."
    )


def _not_audio(file: BinaryIO, label: str, reason: str) -> AudioError:
    kind = sniff(file)
    if kind:
        found = f"{kind.upper()} data that no reader takes ({reason})"
        remedy = "It is cut off or damaged: copy or record it again."
    else:
        found = describe(file)
        remedy = "Check where the file comes from, or convert it, for example to WAV."
    return AudioError(label, found, f"a recording ({_FORMATS})", remedy)
