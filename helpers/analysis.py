"""One clip, seen through every feature family: the formulas.

A *frame* family keeps time, shape ``(n_frames, n_bins)``; a *clip* family says one clip in one
named row. All families of one clip share one STFT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers.audio import SAMPLE_RATE

N_MFCC = 40


@dataclass(frozen=True)
class FeatureSettings:
    """Everything that a feature value depends on besides the waveform.

    Attributes
    ----------
    clip_s : float
        Seconds that every clip is padded or cropped to before frames are cut (:func:`fit_clip`).
    n_fft, hop : int
        Frame length and step in samples at 16 kHz.
    n_mels : int
        Mel bands between 0 Hz and 8 kHz.
    range_db : float
        The log-mel keeps this many dB below the loudest bin of the clip; all below is 0.
    """

    clip_s: float = 3.0
    n_fft: int = 1024
    hop: int = 320
    n_mels: int = 64
    range_db: float = 80.0

    @property
    def n_samples(self) -> int:
        return round(self.clip_s * SAMPLE_RATE)

    @property
    def n_frames(self) -> int:
        return 1 + self.n_samples // self.hop

    def n_bins(self, family: str) -> int:
        """Columns of a frame family."""
        return {"logmel": self.n_mels, "mfcc": N_MFCC}[family]


class Analysis:
    """One clip's signal representations, each computed once and when first asked for.

    Parameters
    ----------
    y : np.ndarray, shape (n,), float32
        Waveform at 16 kHz.
    settings : FeatureSettings
    """

    def __init__(self, y: np.ndarray, settings: FeatureSettings) -> None:
        self.y = y
        self.settings = settings

    @cached_property
    def magnitude(self) -> np.ndarray:
        """|STFT|, shape (1 + n_fft / 2, n_frames)."""
        import librosa

        s = self.settings
        return np.abs(librosa.stft(self.y, n_fft=s.n_fft, hop_length=s.hop, pad_mode="reflect"))

    @cached_property
    def power(self) -> np.ndarray:
        return self.magnitude**2

    @cached_property
    def mel_power(self) -> np.ndarray:
        """librosa's own mel spectrogram (Slaney filters), 128 bands, as the seeds use it."""
        import librosa

        return librosa.feature.melspectrogram(S=self.power, sr=SAMPLE_RATE, n_mels=128)

    @cached_property
    def mel_db(self) -> np.ndarray:
        import librosa

        return librosa.power_to_db(self.mel_power)

    @cached_property
    def mfcc(self) -> np.ndarray:
        """40 MFCCs, shape (40, n_frames)."""
        import librosa

        return librosa.feature.mfcc(S=self.mel_db, n_mfcc=N_MFCC)

    @cached_property
    def chroma(self) -> np.ndarray:
        import librosa

        # A fixed tuning: estimating it from a short utterance is slow and means nothing for speech.
        return librosa.feature.chroma_stft(S=self.power, sr=SAMPLE_RATE, tuning=0.0)

    @cached_property
    def zcr(self) -> np.ndarray:
        import librosa

        s = self.settings
        return librosa.feature.zero_crossing_rate(self.y, frame_length=s.n_fft, hop_length=s.hop)

    @cached_property
    def rms(self) -> np.ndarray:
        import librosa

        s = self.settings
        # From the waveform: from the windowed STFT a full-scale sine would read 0.43, not 0.71.
        return librosa.feature.rms(y=self.y, frame_length=s.n_fft, hop_length=s.hop)

    @cached_property
    def f0(self) -> np.ndarray:
        """F0 in Hz a frame by YIN, NaN in frames more than 40 dB below the loudest."""
        import librosa

        s = self.settings
        f0 = librosa.yin(
            self.y, fmin=60, fmax=500, sr=SAMPLE_RATE, frame_length=s.n_fft, hop_length=s.hop
        )
        level = 20 * np.log10(self.rms[0] / (self.rms.max() + 1e-12) + 1e-12)
        n = min(len(f0), len(level))
        return np.where((level[:n] > -40) & (f0[:n] < 490), f0[:n], np.nan)


def logmel_frames(clip: Analysis) -> np.ndarray:
    """Log-mel in dB above ``range_db`` below the clip's loudest bin, shape (n_frames, n_mels).

    The HTK mel scale without area normalisation is the one that ``keras.layers.MelSpectrogram``
    computes. The relative level makes the picture independent of recording gain, and digital
    silence (RAVDESS has it at both ends) exactly 0.
    """
    import librosa

    s = clip.settings
    mel = librosa.feature.melspectrogram(
        S=clip.power, sr=SAMPLE_RATE, n_mels=s.n_mels, htk=True, norm=None
    )
    level = 10 * np.log10(np.maximum(mel, 1e-14))
    return np.maximum(level - level.max() + s.range_db, 0).T.astype("float32")


def mfcc_frames(clip: Analysis) -> np.ndarray:
    """40 MFCCs with time kept, shape (n_frames, 40)."""
    return clip.mfcc.T.astype("float32")


def mfcc_means(clip: Analysis) -> dict[str, float]:
    """Mean of each of 40 MFCCs: the input of seeds 000 and 003."""
    return {f"mfcc_{i:02d}_mean": value for i, value in enumerate(clip.mfcc.mean(axis=1), 1)}


def vector_162(clip: Analysis) -> dict[str, float]:
    """ZCR 1, chroma 12, MFCC 20, RMS 1, mel 128, all means: the input of seed 004."""
    row = {"zcr_mean": clip.zcr.mean()}
    row |= {f"chroma_{i:02d}_mean": v for i, v in enumerate(clip.chroma.mean(axis=1), 1)}
    row |= {f"mfcc_{i:02d}_mean": v for i, v in enumerate(clip.mfcc[:20].mean(axis=1), 1)}
    row["rms_mean"] = clip.rms.mean()
    return row | {f"mel_{i:03d}_mean": v for i, v in enumerate(clip.mel_power.mean(axis=1), 1)}


_STATISTICS: dict[str, Callable] = {
    "mean": np.mean,
    "std": np.std,
    "max": np.max,
    "min": np.min,
}


def _describe(name: str, values: np.ndarray, statistics: str = "mean std max min") -> dict:
    """Name and compute statistics over time of a (n_rows, n_frames) array."""
    rows = [name] if len(values) == 1 else [f"{name}_{i:02d}" for i in range(1, len(values) + 1)]
    return {
        f"{row}_{key}": _STATISTICS[key](data)
        for row, data in zip(rows, values, strict=True)
        for key in statistics.split()
    }


def functionals(clip: Analysis) -> dict[str, float]:
    """The 254 clip-level functionals of seed 001, one named column each.

    Where the seed calls pyin and a tonnetz of the harmonic part, YIN and the tonnetz of the plain
    chroma stand here: a tenth of the time.
    """
    import librosa

    s = clip.settings
    magnitude, mfcc = clip.magnitude, clip.mfcc[:20]
    spectral = {"S": magnitude, "sr": SAMPLE_RATE}
    centroid = librosa.feature.spectral_centroid(**spectral)
    bandwidth = librosa.feature.spectral_bandwidth(**spectral, centroid=centroid)
    row = _describe("zcr", clip.zcr) | _describe("rms", clip.rms)
    row |= _describe("centroid", centroid) | _describe("bandwidth", bandwidth)
    row |= _describe("rolloff", librosa.feature.spectral_rolloff(**spectral))
    row |= _describe("contrast", librosa.feature.spectral_contrast(**spectral), "mean std")
    row |= _describe("flatness", librosa.feature.spectral_flatness(S=magnitude), "mean std")
    row |= _describe("mfcc", mfcc)
    width = min(9, mfcc.shape[1] - (mfcc.shape[1] + 1) % 2)
    for order, name in ((1, "mfcc_delta"), (2, "mfcc_delta2")):
        delta = librosa.feature.delta(mfcc, order=order, width=width) if width >= 3 else 0 * mfcc
        row |= _describe(name, delta, "mean std")
    row |= _describe("chroma", clip.chroma, "mean std")
    row |= _describe("tonnetz", librosa.feature.tonnetz(chroma=clip.chroma), "mean std")
    onset = librosa.onset.onset_strength(S=clip.mel_db, sr=SAMPLE_RATE, hop_length=s.hop)
    tempo, beats = librosa.beat.beat_track(onset_envelope=onset, sr=SAMPLE_RATE, hop_length=s.hop)
    gaps = np.diff(beats) * s.hop / SAMPLE_RATE
    row |= {
        "tempo_bpm": float(np.squeeze(tempo)),
        "beat_count": len(beats),
        "beat_gap_s_std": gaps.std() if len(gaps) else 0.0,
    }
    f0 = clip.f0[np.isfinite(clip.f0)]
    row |= _describe("f0", (f0 if len(f0) else np.zeros(1))[None])
    mel = clip.mel_db
    row |= _describe("mel", mel.reshape(1, -1)) | {
        "mel_median": np.median(mel),
        "mel_quartile1": np.percentile(mel, 25),
        "mel_quartile3": np.percentile(mel, 75),
    }
    bands = mel.mean(axis=1).reshape(8, -1).mean(axis=1)
    return row | {f"mel_band_{i}_mean": value for i, value in enumerate(bands, 1)}


#: Family name → function of an :class:`Analysis`. Frame families return an array, clip families
#: a row of named values.
FAMILIES: dict[str, Callable] = {
    "logmel": logmel_frames,
    "mfcc": mfcc_frames,
    "mfcc40": mfcc_means,
    "vector162": vector_162,
    "functionals": functionals,
}
FRAME_FAMILIES = ("logmel", "mfcc")
