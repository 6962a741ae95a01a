"""The microphone of the machine on which Python runs, through PortAudio.

sounddevice is imported only when it is asked to record: all else works without PortAudio.
"""

from __future__ import annotations

import logging
import queue

import numpy as np

from helpers.errors import UserError

_MUTED_PEAK = 1e-4  # a muted or forbidden microphone delivers zeros or some dither
_INVALID_CHANNELS = -9998
_BLOCK_S, _PATIENCE_S = 0.05, 10.0  # a sound server may need 2 s to wake up, a headset longer
_FORGOTTEN_S = 15.0
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


class Microphone:
    """The microphone of the machine on which Python runs; open until it is closed.

    Parameters
    ----------
    device : int or str, optional
        Its number, or a part of its name; the system's choice if not given.

    Attributes
    ----------
    rate : int
        The device's own sample rate in Hz: the system's resampling is of unknown quality.

    Raises
    ------
    UserError
        PortAudio or the microphone is missing, busy or forbidden.
    """

    def __init__(self, device: int | str | None = None) -> None:
        sounddevice = _import_sounddevice()
        self._arrived: queue.SimpleQueue = queue.SimpleQueue()
        self._power = 0.0
        self._lost, self._stop = 0, sounddevice.CallbackAbort
        try:
            self.rate = round(sounddevice.query_devices(device, "input")["default_samplerate"])
            self._stream = _open_stream(sounddevice, self._take, device, self.rate)
        except ValueError as error:
            raise UserError(f"{error}. There are:\n{sounddevice.query_devices()}") from error
        except sounddevice.PortAudioError as error:
            raise UserError(_NOT_OPENED.format(error)) from error

    def _take(self, block: np.ndarray, _frames, _time, status) -> None:
        if self._arrived.qsize() * _BLOCK_S > _FORGOTTEN_S:
            raise self._stop  # nobody listens any more: it must not go on
        self._lost += status.input_overflow
        self._arrived.put(block.copy())

    def read(self) -> np.ndarray:
        """All that was heard since the last call, shape (n_samples,), float32; waits for some."""
        blocks: list[np.ndarray] = []
        while not blocks or not self._arrived.empty():
            try:
                blocks.append(self._arrived.get(timeout=_PATIENCE_S))
            except queue.Empty:
                reason = f"it was opened, but no sound came for {_PATIENCE_S:g} s"
                raise UserError(_NOT_OPENED.format(reason)) from None
        channels = np.concatenate(blocks)
        # In a stereo microphone one channel may carry nothing.
        self._power = self._power + np.square(channels).sum(axis=0)
        return channels[:, np.argmax(self._power)]

    def close(self) -> None:
        """Give the device back."""
        self._stream.close()
        if self._lost:
            _LOG.warning("the machine was too busy: samples were lost at %d places", self._lost)

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def check_muted(y: np.ndarray) -> None:
    """Raise the UserError that explains a recording without any sound."""
    if np.abs(y).max(initial=0) < _MUTED_PEAK:
        raise UserError(_SILENCE)


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


def _open_stream(sounddevice, take, device: int | str | None, rate: int):
    """Running stream of one channel; of two where the device opens in stereo only."""
    options = {"device": device, "samplerate": rate, "blocksize": round(_BLOCK_S * rate)}
    options |= {"dtype": "float32", "callback": take}
    try:
        stream = sounddevice.InputStream(**options, channels=1)
    except sounddevice.PortAudioError as error:
        if error.args[1:2] != (_INVALID_CHANNELS,):
            raise
        stream = sounddevice.InputStream(**options, channels=2)
    stream.start()
    return stream


def peak_dbfs(y: np.ndarray) -> float:
    """Peak level in dB below full scale, at least -100.

    >>> round(peak_dbfs(np.array([0.5, -0.1])), 1)
    -6.0
    """
    return float(20 * np.log10(max(np.abs(y).max(initial=0), 1e-5)))
