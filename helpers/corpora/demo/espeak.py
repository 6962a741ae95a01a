"""eSpeak NG through ctypes: text, a voice and a rate in, samples out, the same ones every time.

eSpeak NG is GPL-3.0-or-later. It is loaded only inside :func:`open_synthesizer`, which only the
demo corpus calls: nothing else of the project needs it or links to it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
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
# The library keeps its state in globals.
_LOCK = threading.Lock()


class _VoiceInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
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
            Words a minute, 80 to 450.

        Returns
        -------
        ndarray of float32, shape (n_samples,)
            In [-1, 1], at :attr:`sr`.

        Raises
        ------
        UserError
            eSpeak does not take the variant or the text.
        """
        self._select(variant)
        self._library.espeak_SetParameter(_RATE, round(rate_wpm), 0)
        self._blocks.clear()
        spoken = text.encode()
        code = self._library.espeak_Synth(
            spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None
        )
        if code != 0 or not self._blocks:
            raise UserError(_explain(f"it could not speak {text!r} (code {code})"))
        return np.concatenate(self._blocks).astype(np.float32) / 32768

    def _select(self, variant: str) -> None:
        self._variant_file.write_text(variant, encoding="utf-8", newline="\n")
        voice = f"{_LANGUAGE}+{self._variant_file.name}"
        code = self._library.espeak_SetVoiceByName(voice.encode())
        found = self._library.espeak_GetCurrentVoice().contents.identifier or b""
        # An unknown variant is no error to eSpeak, which then speaks with its plain voice.
        if code != 0 or not found.decode(errors="replace").endswith(f"+{self._variant_file.name}"):
            raise UserError(_explain(f"it did not take the voice {voice!r} (found {found!r})"))


@contextmanager
def open_synthesizer() -> Iterator[Synthesizer]:
    """Start eSpeak NG; one at a time in a process, others wait.

    Raises
    ------
    UserError
        eSpeak NG is not installed, or does not work on this platform.
    """
    library, source = _load_library()
    # A copy of the few files of English (1 MB): voices can be added, the installed package stays as
    # it is, and the path is short. espeak-ng cuts paths off at 160 characters.
    with _LOCK, tempfile.TemporaryDirectory(prefix="espeak-") as home:
        data = Path(home) / "espeak-ng-data"
        for name in _DATA_FILES:
            # Checked here because eSpeak crashes on an empty one.
            if not (source / name).is_file() or not (source / name).stat().st_size:
                raise UserError(_explain(f"its file {source / name} is missing or empty"))
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, data / name)
        synthesizer = Synthesizer(library, data)
        try:
            yield synthesizer
        finally:
            library.espeak_Terminate()


def _load_library() -> tuple[ctypes.CDLL, Path]:
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(_explain(str(error))) from error
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_VoiceInfo)
    return library, data


def _explain(cause: str) -> str:
    return (
        f"the demo corpus cannot be made, eSpeak NG does not work here: {cause}. It comes with the "
        "package espeakng-loader (`pip install espeakng-loader`), which has no build for some "
        "platforms. All else works without it: use recordings instead, for example "
        "--corpora ravdess, or copy a demo corpus made on another machine to data/demo/"
    )
