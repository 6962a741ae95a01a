"""One clip, seen through every feature family: the formulas.

A *frame* family keeps time, shape ``(n_frames, n_bins)``, of a clip that was brought to one
length; a *clip* family says one clip, as long as it is, in one named row. All families of either
kind share one STFT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import librosa
import numpy as np

from helpers.features.voice import Pitch, track_pitch, voiced_stretches
from helpers.sound.audio import SAMPLE_RATE

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
    """Signal representations of one waveform at 16 kHz, each computed when first asked for."""

    def __init__(self, y: np.ndarray, settings: FeatureSettings) -> None:
        self.y = y
        self.settings = settings

    @cached_property
    def power(self) -> np.ndarray:
        """Power of the STFT, shape (1 + n_fft / 2, n_frames)."""
        s = self.settings
        stft = librosa.stft(self.y, n_fft=s.n_fft, hop_length=s.hop, pad_mode="reflect")
        return stft.real**2 + stft.imag**2

    @cached_property
    def mel_power(self) -> np.ndarray:
        """librosa's own mel spectrogram (Slaney filters), 128 bands."""
        return _mel_filters(self.settings.n_fft, 128, htk=False) @ self.power

    @cached_property
    def mel_db(self) -> np.ndarray:
        return librosa.power_to_db(self.mel_power)

    @cached_property
    def mfcc(self) -> np.ndarray:
        """40 MFCCs, shape (40, n_frames)."""
        return librosa.feature.mfcc(S=self.mel_db, n_mfcc=N_MFCC)

    @cached_property
    def chroma(self) -> np.ndarray:
        raw = _chroma_filters(self.settings.n_fft) @ self.power
        return librosa.util.normalize(raw, norm=np.inf, axis=-2)

    @cached_property
    def zcr(self) -> np.ndarray:
        s = self.settings
        return librosa.feature.zero_crossing_rate(self.y, frame_length=s.n_fft, hop_length=s.hop)

    @cached_property
    def rms(self) -> np.ndarray:
        s = self.settings
        # From the waveform: from the windowed STFT a full-scale sine would read 0.43, not 0.71.
        return librosa.feature.rms(y=self.y, frame_length=s.n_fft, hop_length=s.hop)

    @cached_property
    def level_db(self) -> np.ndarray:
        """Level of each frame in dB below the loudest, shape (n_frames,); at least -80."""
        return np.maximum(20 * np.log10(self.rms[0] / (self.rms.max() + 1e-12) + 1e-12), -80.0)

    @cached_property
    def pitch(self) -> Pitch:
        return track_pitch(self.y, hop=self.settings.hop)


# librosa computes its filters anew in each call, which takes as long as using them.


@lru_cache
def _mel_filters(n_fft: int, n_mels: int, *, htk: bool) -> np.ndarray:
    options: dict = {"htk": htk, "norm": None if htk else "slaney"}
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels, **options)


@lru_cache
def _chroma_filters(n_fft: int) -> np.ndarray:
    # A fixed tuning: estimating it from a short utterance is slow and means nothing for speech.
    return librosa.filters.chroma(sr=SAMPLE_RATE, n_fft=n_fft, tuning=0.0)


def _delta(rows: np.ndarray, order: int) -> np.ndarray:
    """librosa's derivative over 9 frames; over fewer, or 0, where a clip is too short."""
    n = rows.shape[1]
    width = min(9, n - (n + 1) % 2)
    return librosa.feature.delta(rows, order=order, width=width) if width >= 3 else 0 * rows


def logmel_frames(clip: Analysis) -> np.ndarray:
    """Log-mel in dB above ``range_db`` below the clip's loudest bin, shape (n_frames, n_mels).

    The HTK mel scale without area normalisation is the one that ``keras.layers.MelSpectrogram``
    computes. The relative level makes the picture independent of recording gain, and digital
    silence (RAVDESS has it at both ends) exactly 0.
    """
    s = clip.settings
    mel = _mel_filters(s.n_fft, s.n_mels, htk=True) @ clip.power
    level = 10 * np.log10(np.maximum(mel, 1e-14))
    return np.maximum(level - level.max() + s.range_db, 0).T.astype("float32")


def mfcc_frames(clip: Analysis) -> np.ndarray:
    """40 MFCCs with time kept, shape (n_frames, 40)."""
    return clip.mfcc.T.astype("float32")


def mfcc_means(clip: Analysis) -> dict[str, float]:
    """Mean of each of 40 MFCCs: what the averaged-MFCC LSTM takes."""
    return _describe("mfcc", clip.mfcc, "mean")


def vector_162(clip: Analysis) -> dict[str, float]:
    """ZCR 1, chroma 12, MFCC 20, RMS 1, mel 128: the means that the averaged Conv1D takes."""
    row = _describe("zcr", clip.zcr, "mean") | _describe("chroma", clip.chroma, "mean")
    row |= _describe("mfcc", clip.mfcc[:20], "mean") | _describe("rms", clip.rms, "mean")
    return row | {f"mel_{i:03d}_mean": v for i, v in enumerate(clip.mel_power.mean(axis=1), 1)}


def vector_180(clip: Analysis) -> dict[str, float]:
    """MFCC 40, chroma 12, mel 128, all means; a linear model learns them quickly."""
    row = mfcc_means(clip) | _describe("chroma", clip.chroma, "mean")
    return row | {f"mel_{i:03d}_mean": v for i, v in enumerate(clip.mel_power.mean(axis=1), 1)}


def _describe(name: str, values: np.ndarray, statistics: str = "mean std max min") -> dict:
    """Name and compute statistics over time of a (n_rows, n_frames) array."""
    rows = [name] if len(values) == 1 else [f"{name}_{i:02d}" for i in range(1, len(values) + 1)]
    columns = {key: getattr(np, key)(values, axis=1) for key in statistics.split()}
    return {f"{row}_{key}": columns[key][i] for i, row in enumerate(rows) for key in columns}


def functionals(clip: Analysis) -> dict[str, float]:
    """The 254 clip-level functionals that the functionals MLP takes, one named column each.

    Where its public recipe calls pyin and takes the tonnetz of the harmonic part,
    :func:`helpers.features.voice.track_pitch` and the tonnetz of the plain chroma stand here: a
    tenth of the time.
    """
    s = clip.settings
    magnitude, mfcc = np.sqrt(clip.power), clip.mfcc[:20]
    spectral = {"S": magnitude, "sr": SAMPLE_RATE}
    centroid = librosa.feature.spectral_centroid(**spectral)
    bandwidth = librosa.feature.spectral_bandwidth(**spectral, centroid=centroid)
    row = _describe("zcr", clip.zcr) | _describe("rms", clip.rms)
    row |= _describe("centroid", centroid) | _describe("bandwidth", bandwidth)
    row |= _describe("rolloff", librosa.feature.spectral_rolloff(**spectral))
    row |= _describe("contrast", librosa.feature.spectral_contrast(**spectral), "mean std")
    row |= _describe("flatness", librosa.feature.spectral_flatness(S=magnitude), "mean std")
    row |= _describe("mfcc", mfcc)
    for order, name in ((1, "mfcc_delta"), (2, "mfcc_delta2")):
        row |= _describe(name, _delta(mfcc, order), "mean std")
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
    f0 = clip.pitch.f0
    row |= _describe("f0", (f0[np.isfinite(f0)] if np.isfinite(f0).any() else np.zeros(1))[None])
    mel = clip.mel_db
    quartiles = np.percentile(mel, [50, 25, 75])
    row |= _describe("mel", mel.reshape(1, -1))
    row |= dict(zip(("mel_median", "mel_quartile1", "mel_quartile3"), quartiles, strict=True))
    bands = mel.mean(axis=1).reshape(8, -1).mean(axis=1)
    return row | {f"mel_band_{i}_mean": value for i, value in enumerate(bands, 1)}


def prosody(clip: Analysis) -> dict[str, float]:
    """What phoneticians look at in an emotional voice: pitch, loudness, rhythm, voice quality.

    Pitch is in semitones above 100 Hz, so that high and low voices move alike. What needs a voice
    is 0 where there is none.
    """
    from scipy.signal import find_peaks

    step = clip.settings.hop / SAMPLE_RATE
    f0, level = clip.pitch.f0, clip.level_db
    voiced, loud = np.isfinite(f0), level > -30
    # From the first to the last sound: silence around a recording says nothing about the speaker.
    spoken = slice(loud.argmax(), len(loud) - loud[::-1].argmax())
    seconds = max(step * (spoken.stop - spoken.start), step)
    pitch = 12 * np.log2(f0[voiced] / 100) if voiced.any() else np.zeros(1)
    stretches = voiced_stretches(f0)
    turns = np.concatenate(
        [np.zeros(1)] + [12 * np.diff(np.log2(f0[a:b])) / step for a, b in stretches]
    )
    slopes = np.diff(level[spoken], append=level[spoken][-1:]) / step
    # Syllables have a peak of level, 2 dB deep on both sides, and a voice (de Jong & Wempe 2009,
    # Behavior Research Methods 41: 385-390).
    syllables, _ = find_peaks(np.where(voiced, level, -80.0)[spoken], prominence=2, height=-25)
    periodic = clip.pitch.periodicity[voiced] if voiced.any() else np.full(1, 0.5)
    hnr = 10 * np.log10(periodic / (1 - periodic))
    return {
        "f0_st_mean": pitch.mean(),
        "f0_st_std": pitch.std(),
        "f0_st_range": np.ptp(np.percentile(pitch, [5, 95])),
        "f0_st_s_rise": turns.clip(min=0).mean(),
        "f0_st_s_fall": turns.clip(max=0).mean(),
        "voiced_share": voiced[spoken].mean(),
        "voiced_stretch_s_mean": step * np.diff(stretches).mean() if len(stretches) else 0.0,
        "pause_share": 1 - loud[spoken].mean(),
        "syllables_per_s": len(syllables) / seconds,
        "level_db_std": level[spoken].std(),
        "level_db_range": np.ptp(np.percentile(level[spoken], [5, 95])),
        "level_db_s_rise": slopes.clip(min=0).mean(),
        "level_db_s_fall": slopes.clip(max=0).mean(),
        "hnr_db_mean": hnr.mean(),
        "hnr_db_std": hnr.std(),
        "alpha_ratio_db": _band_ratio_db(clip, (50, 1000), (1000, 5000), np.sum),
        "hammarberg_db": _band_ratio_db(clip, (0, 2000), (2000, 5000), np.max),
    }


def _band_ratio_db(clip: Analysis, low: tuple, high: tuple, summarise: Callable) -> float:
    """Level of a low band over a high one, in the mean spectrum of the voiced frames."""
    voiced = np.isfinite(clip.pitch.f0)
    power = clip.power[:, voiced if voiced.any() else slice(None)].mean(axis=1)
    hz = np.linspace(0, SAMPLE_RATE / 2, len(power))
    levels = [summarise(power[(hz >= a) & (hz < b)]) + 1e-12 for a, b in (low, high)]
    return 10 * np.log10(levels[0] / levels[1])


#: Family name → function of an :class:`Analysis`. Frame families return an array, clip families
#: a row of named values.
FAMILIES: dict[str, Callable] = {
    "logmel": logmel_frames,
    "mfcc": mfcc_frames,
    "mfcc40": mfcc_means,
    "vector162": vector_162,
    "vector180": vector_180,
    "functionals": functionals,
    "prosody": prosody,
}
FRAME_FAMILIES = ("logmel", "mfcc")
