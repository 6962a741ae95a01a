"""The microphone of the machine on which Python runs, through PortAudio.

sounddevice is imported only when it is asked to record: all else works without PortAudio.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

import numpy as np
import soxr

from helpers.errors import UserError
from helpers.sound.audio import SAMPLE_RATE

_MUTED_PEAK = 1e-4  # a muted or forbidden microphone delivers zeros or some dither
_INVALID_CHANNELS = -9998
_BLOCK_S, _PATIENCE_S = 0.05, 10.0  # a sound server may need 2 s to wake up, a headset longer
_LOG = logging.getLogger(__name__)

_NO_LIBRARY = (
    "PortAudio, the system library behind the microphone, could not be loaded ({}). "
    "On Debian or Ubuntu: sudo apt install libportaudio2; elsewhere: "
    "pip install --force-reinstall sounddevice. Then restart the kernel, or upload a recording."
)
_NOT_OPENED = (
    "No microphone could be used on the machine on which the kernel runs ({}). Plug one in, close "
    "other programs that use it, and choose it in the system's sound settings; on a server or "
    "Binder, upload a recording instead."
)
_SILENCE = (
    "Only silence was recorded. The microphone is muted, or the system's settings under Privacy, "
    "Microphone do not allow the program in which Jupyter was started to use it."
)


def record_microphone(
    duration_s: float, *, on_level: Callable[[float, float], None] | None = None
) -> np.ndarray:
    """Record from the system's microphone on the machine on which Python runs.

    Parameters
    ----------
    duration_s : float
        Length of the result in s, 0.1 to 600.
    on_level : callable, optional
        Called about 20 times a second with the time recorded so far in s and the peak in dBFS.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        16 kHz mono, at the level at which it was recorded.

    Raises
    ------
    UserError
        PortAudio or the microphone is missing, busy, forbidden or muted; an impossible duration.
    """
    if not 0.1 <= duration_s <= 600:
        raise UserError(f"duration_s={duration_s}: expected 0.1 to 600 seconds")
    sounddevice = _import_sounddevice()
    try:
        y, rate = _record(sounddevice, duration_s, on_level)
    except sounddevice.PortAudioError as error:
        raise UserError(_NOT_OPENED.format(error)) from error
    if np.abs(y).max() < _MUTED_PEAK:
        raise UserError(_SILENCE)
    return soxr.resample(y, rate, SAMPLE_RATE)[: round(duration_s * SAMPLE_RATE)]


def _import_sounddevice():
    try:
        import sounddevice
    except (OSError, ImportError) as error:  # OSError: the package is there, PortAudio is not
        raise UserError(_NO_LIBRARY.format(error)) from error
    if sounddevice.default.device[0] < 0:
        # PortAudio lists the devices when it starts; this finds one that was plugged in later.
        sounddevice._terminate()
        sounddevice._initialize()
    return sounddevice


def _record(sounddevice, duration_s, on_level) -> tuple[np.ndarray, int]:
    """Waveform at the device's own rate, because the system's resampling is of unknown quality."""
    rate = round(sounddevice.query_devices(kind="input")["default_samplerate"])
    missing = int(np.ceil(duration_s * rate))
    lost, blocks, arrived = 0, [], queue.SimpleQueue()

    def take(block, _frames, _time, status) -> None:
        arrived.put((block.copy(), status.input_overflow))

    options = {"samplerate": rate, "blocksize": round(_BLOCK_S * rate), "dtype": "float32"}
    with _open_stream(sounddevice, options, callback=take):
        while missing > 0:
            try:
                block, overflow = arrived.get(timeout=_PATIENCE_S)
            except queue.Empty:
                reason = f"it was opened, but no sound came for {_PATIENCE_S:g} s"
                raise UserError(_NOT_OPENED.format(reason)) from None
            blocks.append(block)
            missing -= len(block)
            lost += overflow
            if on_level:
                on_level(min(duration_s, duration_s - missing / rate), peak_dbfs(block))
    if lost:
        _LOG.warning("the machine was too busy: samples were lost at %d places", lost)
    channels = np.concatenate(blocks)
    # In a stereo microphone one channel may carry nothing.
    return channels[:, np.square(channels).sum(axis=0).argmax()], rate


def _open_stream(sounddevice, options: dict, *, callback):
    """Stream of one channel; of two where the device opens in stereo only."""
    try:
        return sounddevice.InputStream(**options, channels=1, callback=callback)
    except sounddevice.PortAudioError as error:
        if error.args[1:2] != (_INVALID_CHANNELS,):
            raise
    return sounddevice.InputStream(**options, channels=2, callback=callback)


def peak_dbfs(y: np.ndarray) -> float:
    """Peak level in dB below full scale, at least -100.

    >>> round(peak_dbfs(np.array([0.5, -0.1])), 1)
    -6.0
    """
    return float(20 * np.log10(max(np.abs(y).max(initial=0), 1e-5)))
