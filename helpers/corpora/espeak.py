"""How the demo corpus is spoken: eSpeak NG through ctypes, then voice quality, room, file formats.

The same text, voice and rate give the same samples every time. eSpeak NG is GPL-3.0-or-later. It is
loaded only inside :func:`open_synthesizer`, which only the demo corpus calls: nothing else of the
project needs it or links to it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from helpers.errors import UserError

_LANGUAGE, _LANGUAGE_FILE = "en-us", "lang/gmw/en-US"
_DATA_FILES = ("phontab", "phonindex", "phondata", "intonations", "en_dict", _LANGUAGE_FILE)
# Numbers of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Synthesizer:
    """Speaks one sentence at a time; made by :func:`open_synthesizer`.

    Attributes
    ----------
    sr : int
        Sample rate in Hz.
    version : str
        Version of eSpeak NG.
    """

    def __init__(self, library: ctypes.CDLL, data: Path):
        self._library = library
        self._variant_file = data / "voices" / "!v" / "demo"
        self._variant_file.parent.mkdir(parents=True)
        self._blocks: list[np.ndarray] = []
        # The library opens files by C's fopen, which on Windows wants the code page's encoding.
        home = str(data.parent).encode("mbcs") if os.name == "nt" else os.fsencode(data.parent)
        self.sr = library.espeak_Initialize(_SYNCHRONOUS, 0, home, _DONT_EXIT)
        if self.sr <= 0:
            raise UserError(_explain(f"it did not start (code {self.sr})"))
        self.version = library.espeak_Info(None).decode()
        # Kept on self: the library would call a freed function otherwise.
        self._callback = _CALLBACK(self._collect)
        library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples, n_samples: int, _events) -> int:
        if samples and n_samples:
            self._blocks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    def speak(self, text: str, *, variant: str, rate_wpm: float) -> np.ndarray:
        """Samples of ``text``, with the silence that eSpeak puts around it.

        Parameters
        ----------
        text : str
            A closing question mark makes the pitch rise at the end.
        variant : str
            The voice, as the text of an eSpeak variant file (``docs/voices.md`` of espeak-ng).
            Without ``flutter 0`` and ``roughness 0`` no two calls sound the same.
        rate_wpm : float
            Words per minute, 80 to 450.

        Returns
        -------
        ndarray of float32, shape (n_samples,)
            In [-1, 1], at :attr:`sr`.

        Raises
        ------
        UserError
            eSpeak does not take the variant or the text.
        """
        self._variant_file.write_text(variant, encoding="utf-8", newline="\n")
        voice = f"{_LANGUAGE}+{self._variant_file.name}".encode()
        if self._library.espeak_SetVoiceByName(voice):
            raise UserError(_explain(f"it did not take the voice {voice!r}"))
        self._library.espeak_SetParameter(_RATE, round(rate_wpm), 0)
        self._blocks.clear()
        spoken = text.encode()
        code = self._library.espeak_Synth(
            spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None
        )
        if code != 0 or not self._blocks:
            raise UserError(_explain(f"it could not speak {text!r} (code {code})"))
        return np.concatenate(self._blocks).astype(np.float32) / 32768


@contextmanager
def open_synthesizer() -> Iterator[Synthesizer]:
    """Start eSpeak NG; one at a time in a process, as the library keeps its state in globals.

    Raises
    ------
    UserError
        eSpeak NG is not installed, or does not work on this platform.
    """
    # A copy of the few files of English (1 MB): voices can be added, the installed package stays as
    # it is, and the path is short. espeak-ng cuts paths off at 160 characters.
    with tempfile.TemporaryDirectory(prefix="espeak-") as home:
        data = Path(home) / "espeak-ng-data"
        try:
            import espeakng_loader

            library = ctypes.CDLL(espeakng_loader.get_library_path())
            for name in _DATA_FILES:
                (data / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(espeakng_loader.get_data_path(), name), data / name)
        except (ImportError, OSError, RuntimeError) as error:
            raise UserError(_explain(str(error))) from error
        library.espeak_Info.restype = ctypes.c_char_p
        synthesizer = Synthesizer(library, data)
        try:
            yield synthesizer
        finally:
            library.espeak_Terminate()


def _explain(cause: str) -> str:
    return (
        f"the demo corpus cannot be made, eSpeak NG does not work here: {cause}. It comes with the "
        "package espeakng-loader (`pip install espeakng-loader`), which has no build for some "
        "platforms. All else works without it: use recordings instead, for example "
        "--corpora ravdess, or copy a demo corpus made on another machine to data/demo/"
    )


def trim(y: np.ndarray) -> np.ndarray:
    """Cut off the digital silence before and after the speech."""
    loud = np.flatnonzero(np.abs(y) > 0.005)
    return y[loud[0] : loud[-1] + 1]


def wobble(y: np.ndarray, sr: int, *, depth: float, hz: float, phase: float) -> np.ndarray:
    """Raise and lower the pitch by the part ``depth``, ``hz`` times a second.

    Examples
    --------
    >>> y = np.sin(np.arange(2000) / 10)
    >>> bool(np.allclose(wobble(y, 16_000, depth=0, hz=7, phase=0), y))
    True
    """
    from scipy.ndimage import map_coordinates

    t = np.arange(len(y)) / sr
    # Reading at t + d(t) multiplies the pitch by 1 + d'(t).
    warped = t + depth / (2 * np.pi * hz) * np.sin(2 * np.pi * hz * t + phase)
    return map_coordinates(y, [warped * sr], order=3, mode="nearest")


def tilt(y: np.ndarray, sr: int, *, db_per_octave: float) -> np.ndarray:
    """Brighten or dull the sound: a straight slope from 100 Hz to 8 kHz, 0 dB at 1 kHz."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    n = next_fast_len(len(y), real=True)
    octaves = np.log2(rfftfreq(n, 1 / sr).clip(100, 8000) / 1000)
    return irfft(rfft(y, n) * 10 ** (db_per_octave * octaves / 20), n)[: len(y)]


def record(
    y: np.ndarray, sr: int, *, to_sr: int, level_dbfs: float, rng: np.random.Generator
) -> np.ndarray:
    """Resample, set the RMS level, and put 50 to 200 ms of a quiet room on each side.

    Returns
    -------
    ndarray of float32, shape (n_samples,)
        At ``to_sr``, no sample above 0.9.
    """
    import soxr

    y = soxr.resample(y, sr, to_sr)
    y = y * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(y**2))
    before, after = rng.integers(to_sr * 50 // 1000, to_sr * 200 // 1000, size=2)
    y = np.pad(y, (before, after))
    # No recording has silence of zeros.
    y = y + 10 ** (-72 / 20) * rng.standard_normal(len(y))
    return (y * min(1.0, 0.9 / np.abs(y).max())).astype(np.float32)


def write_clip(path: Path, y: np.ndarray, sr: int) -> None:
    """Write ``y`` in the format of the suffix; the same samples give the same bytes."""
    import soundfile

    soundfile.write(path, y, sr)
