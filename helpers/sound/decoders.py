"""The two readers of audio files: soundfile for most formats, PyAV for what it does not know.

soundfile reads WAV, FLAC, MP3, OGG, Opus, AIFF and CAF; PyAV also AAC, M4A, MP4, 3GP, WebM, WMA
and AMR. Both give blocks, so that a long recording needs no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from helpers.sound import containers

_BLOCK_FRAMES = 2**18
_UNKNOWN_FRAMES = 2**63 - 1  # soundfile's word for a FLAC whose recorder could not fill it in
# PyAV is told what to expect: left to guess, it also follows playlists to other files and hosts.
_PYAV_FORMAT = {"mp4": "mov", "adts": "aac"}


class UnreadableError(ValueError):
    """This reader does not take the file; perhaps the next one does."""


class CutOffError(ValueError):
    """The file begins well, but less sound comes than it promises."""


def read_with_soundfile(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (sample rate in Hz, float32 block of shape (n, channels)) up to the end of the file.

    Raises
    ------
    UnreadableError
        Not a format of soundfile, or 0 samples.
    CutOffError
        Fewer samples than promised.
    """
    kind = containers.sniff(file)
    counts = kind == "flac" or (kind == "mp3" and containers.has_frame_count(file))
    file.seek(0)
    try:
        sound = _ForwardOnly(file)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: name.raw, format unknown
        raise UnreadableError(getattr(error, "error_string", str(error))) from error
    done = 0
    with sound:
        while len(block := _next_block(sound, done)):
            done += len(block)
            yield sound.samplerate, block
        # Some MP3 encoders count the frame (1152 samples) in which they write the count.
        promised = sound.frames - (1152 if kind == "mp3" else 0)
        if counts and done < promised < _UNKNOWN_FRAMES:
            raise CutOffError(f"{sound.frames} samples, of which {done} are there")
    if not done:
        # A recorder that wrote into a pipe may leave the length at 0; PyAV reads on to the end.
        raise UnreadableError("0 samples")


def read_with_pyav(file: BinaryIO) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (sample rate in Hz, float32 block of shape (n, channels)) up to the end of the file.

    Raises
    ------
    UnreadableError
        Not a known container, or nothing in it decodes.
    CutOffError
        Decoding fails on the way.
    """
    import av  # heavy, and most corpora never need it

    kind = containers.sniff(file)
    if kind is None:
        raise UnreadableError("not audio")
    file.seek(0)
    done_s = 0.0
    try:
        with av.open(file, format=_PYAV_FORMAT.get(kind, kind), metadata_errors="replace") as sound:
            if not sound.streams.audio:
                raise UnreadableError("no sound track in it")
            for frame in sound.decode(sound.streams.audio[0]):
                # Planar float of the same layout: asking for mono would add the channels up.
                planar = av.AudioResampler(format="fltp", layout=frame.layout).resample(frame)
                for part in planar:
                    done_s += part.samples / part.sample_rate
                    yield part.sample_rate, part.to_ndarray().T
    except av.FFmpegError as error:
        if done_s:
            raise CutOffError(f"sound that ends in an error after {done_s:.2f} s") from error
        raise UnreadableError(error.strerror) from error


READERS = (read_with_soundfile, read_with_pyav)


class _ForwardOnly(soundfile.SoundFile):
    """soundfile seeks to where it is after each read, and MP3 then loses some of its sound."""

    def seekable(self) -> bool:
        return False


def _next_block(sound: soundfile.SoundFile, done: int) -> np.ndarray:
    try:
        return sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise CutOffError(f"{sound.frames} samples, of which at most {done} decode") from error
