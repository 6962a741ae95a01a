"""Each augmentation does what its unit says, is repeatable, and leaves its surroundings alone."""

from __future__ import annotations

import random
from functools import partial

import librosa
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sound.audio import SAMPLE_RATE
from helpers.sound.augment import (
    AUGMENTATIONS,
    add_babble,
    add_noise,
    add_room,
    augment_frames,
    change_gain,
    encode,
    limit_to_telephone,
    mask_spectrogram,
    pick_voices,
    shift_pitch,
    shift_time,
    stretch_time,
)

F0 = 200.0
VOICES = [np.random.default_rng(seed).normal(0, 0.2, 9000).astype("float32") for seed in range(3)]
#: Arguments without a default.
NEEDED = {"babble": {"voices": VOICES}}


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    """Two seconds of a saw at 200 Hz, read-only: writing into the input would be an error."""
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    y = sum(np.sin(2 * np.pi * F0 * k * time) / k for k in range(1, 35))
    y = (0.1 * y).astype("float32")
    y.flags.writeable = False
    return y


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def cents(y: np.ndarray) -> float:
    """Distance of the pitch of ``y`` from the tone's."""
    f0 = librosa.yin(y, fmin=60, fmax=500, sr=SAMPLE_RATE, frame_length=1024)
    return float(1200 * np.log2(np.median(f0) / F0))


def level_db(y: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(y.astype("float64") ** 2)))


# --- waveforms -------------------------------------------------------------------------------


@pytest.mark.parametrize("snr_db", [-5, 0, 15, 30])
def test_noise_has_the_ratio(snr_db, tone, rng):
    noisy = add_noise(tone, rng, snr_db=snr_db)
    noise = noisy - tone
    assert noisy.shape == tone.shape
    assert level_db(tone) - level_db(noise) == pytest.approx(snr_db, abs=0.5)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2  # white: as much in each quarter of the band
    quarters = [part.sum() / spectrum.sum() for part in np.array_split(spectrum, 4)]
    assert quarters == pytest.approx([0.25] * 4, abs=0.03)


@pytest.mark.parametrize("semitones", [-4, -1, 2, 4])
def test_pitch_moves_and_tempo_stays(semitones, tone, rng):
    moved = shift_pitch(tone, rng, semitones=semitones)
    assert len(moved) == len(tone)
    assert cents(moved) == pytest.approx(100 * semitones, abs=20)


@pytest.mark.parametrize("rate", [0.8, 0.95, 1.2, 1.5])
def test_tempo_changes_and_pitch_stays(rate, tone, rng):
    changed = stretch_time(tone, rng, rate=rate)
    assert len(changed) == pytest.approx(len(tone) / rate, rel=0.01)
    assert cents(changed) == pytest.approx(0, abs=20)
    assert level_db(changed) == pytest.approx(level_db(tone), abs=1)


@pytest.mark.parametrize("shift_s", [-0.5, -0.2, 0, 0.05, 0.5])
def test_clip_moves_by_samples_into_silence(shift_s, tone, rng):
    moved = shift_time(tone, rng, shift_s=shift_s)
    assert len(moved) == len(tone)
    n = round(shift_s * SAMPLE_RATE)
    before, after = max(n, 0), len(tone) + min(n, 0)
    assert not moved[:before].any() and not moved[after:].any()
    fade = 400  # the cut edge is faded against a click
    inner = slice(before + fade, after - fade)
    np.testing.assert_array_equal(moved[inner], np.roll(tone, n)[inner])


@pytest.mark.parametrize("gain_db", [-20, -6, 0, 6, 20])
def test_gain_is_exact_and_clips_nothing(gain_db, tone, rng):
    changed = change_gain(tone, rng, gain_db=gain_db)
    np.testing.assert_allclose(changed, tone * 10 ** (gain_db / 20), rtol=1e-5)


def test_babble_is_made_of_the_voices(tone, rng):
    """Each voice is in it, from somewhere on, and as loud as the others."""
    quiet = [VOICES[0], 0.01 * VOICES[1]]
    babble = add_babble(tone, rng, voices=quiet, snr_db=0) - tone
    there = [
        np.abs(np.fft.ifft(np.fft.fft(babble[:9000]) * np.conj(np.fft.fft(voice)))).max()
        / np.sqrt(np.sum(voice**2) * np.sum(babble[:9000] ** 2))
        for voice in VOICES
    ]
    assert there[:2] == pytest.approx([np.sqrt(0.5)] * 2, abs=0.06) and there[2] < 0.1


SIDES = st.lists(
    st.tuples(st.sampled_from(["train", "validation", "test"]), st.sampled_from("abcd")),
    min_size=1,
    max_size=30,
)


@given(sides=SIDES, n=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
def test_babble_never_crosses_the_sides(sides, n, seed):
    """None that is not in training is read, and none of the speaker, unless nobody else is."""
    clips = pd.DataFrame(sides, columns=["side", "speaker"])
    clips["path"] = [f"{side}-{who}-{row}" for row, (side, who) in enumerate(sides)]
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "helpers.sound.augment.load_audio", lambda path: read.append(path) or VOICES[0]
        )
        voices = pick_voices(clips, "side", "a", np.random.default_rng(seed), n=n)
    train = [who for side, who in sides if side == "train"]
    allowed = [who for who in train if who != "a"] or train
    assert len(voices) == len(read) == len(set(read)) == min(n, len(allowed))
    assert all(path.startswith("train-") and path[6] in allowed for path in read)


@pytest.mark.parametrize("rt60_s", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("drr_db", [-3, 6])
def test_a_room_dies_away_in_its_time(rt60_s, drr_db, rng):
    click = np.zeros(2 * SAMPLE_RATE, "float32")
    click[0] = 1
    heard = add_room(click, rng, rt60_s=rt60_s, drr_db=drr_db)
    heard /= heard[0]
    tail = heard[1:].astype("float64") ** 2
    assert 10 * np.log10(1 / tail.sum()) == pytest.approx(drr_db, abs=0.5)
    # Schroeder: what is still to come falls in a straight line, here from 5 to 25 dB.
    left = 10 * np.log10(np.cumsum(tail[::-1])[::-1] / tail.sum() + 1e-12)
    fall_s = (np.argmax(left < -25) - np.argmax(left < -5)) / SAMPLE_RATE
    assert 3 * fall_s == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize(("hz", "passes"), [(60, 0), (1000, 1), (2500, 1), (5000, 0), (7000, 0)])
def test_a_telephone_carries_its_band(hz, passes, rng):
    y = 0.3 * np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype("float32")
    heard = limit_to_telephone(y, rng)
    assert heard.shape == y.shape and heard.dtype == y.dtype
    if passes:
        assert level_db(heard) == pytest.approx(level_db(y), abs=0.5)
        noise = level_db(heard[1000:-1000] - y[1000:-1000]) - level_db(y)
        assert -45 < noise < -25  # 8 bits of µ-law
    else:
        assert level_db(heard + 1e-9) < level_db(y) - 30


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus"])
def test_a_codec_loses_more_at_a_lower_rate_and_moves_nothing(codec, rng):
    # A tone that rises: a codec that moved it would change every sample.
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    y = (0.2 * np.sin(2 * np.pi * (300 + 400 * time) * time)).astype("float32")
    noisy = add_noise(y, rng, snr_db=20)
    snr_db = {}
    for kbps in (16, 64):
        heard = encode(noisy, rng, codec=codec, kbps=kbps)
        assert heard.shape == y.shape and heard.dtype == y.dtype
        snr_db[kbps] = level_db(noisy) - level_db(heard - noisy)
    assert 5 < snr_db[16] < snr_db[64], snr_db


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_same_generator_same_clip(name, tone):
    """Reproducible from ``rng`` alone; global generators and the (read-only) input untouched."""
    change = partial(AUGMENTATIONS[name], **NEEDED.get(name, {}))
    original = tone.copy()
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()
    first = change(tone, np.random.default_rng(3))
    np.testing.assert_equal((random.getstate(), np.random.get_state()), before)
    random.seed(2)
    np.random.seed(2)
    np.testing.assert_array_equal(change(tone, np.random.default_rng(3)), first)
    np.testing.assert_array_equal(tone, original)
    assert first.dtype == "float32" and first.ndim == 1 and np.isfinite(first).all()
    assert not np.shares_memory(first, tone)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_short_and_silent_clips_stay_finite(name, rng):
    for y in (np.zeros(8000, "float32"), rng.normal(0, 0.1, 1600).astype("float32")):
        changed = AUGMENTATIONS[name](y, rng, **NEEDED.get(name, {}))
        assert np.isfinite(changed).all()
        assert 0.8 * len(y) < len(changed) <= len(y)


# --- pictures --------------------------------------------------------------------------------


@given(
    n_frames=st.integers(1, 60),
    n_bins=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_mask_blanks_stretches_and_bands(n_frames, n_bins, seed):
    frames = np.sqrt(1 + np.arange(n_frames * n_bins)).reshape(n_frames, n_bins)
    original = frames.copy()
    masked = mask_spectrogram(frames, np.random.default_rng(seed))
    again = mask_spectrogram(frames, np.random.default_rng(seed))
    np.testing.assert_array_equal(masked, again)
    np.testing.assert_array_equal(frames, original)
    assert masked.shape == frames.shape and masked.dtype == frames.dtype

    blank = masked != frames
    assert (masked[blank] == frames.mean()).all()
    rows, columns = blank.all(axis=1), blank.all(axis=0)
    np.testing.assert_array_equal(blank, rows[:, None] | columns)
    assert rows.sum() <= 2 * 20 or columns.all()
    assert columns.sum() <= 2 * 8 or rows.all()


@pytest.fixture
def pictures(rng) -> np.ndarray:
    """Log-mel pictures as they are: 0 is silence, 80 the loudest bin."""
    batch = np.clip(rng.normal(30, 20, (6, 50, 16)), 0, 80).astype("float32")
    batch.flags.writeable = False
    return batch


def test_augmented_batch_is_repeatable_and_leaves_its_surroundings_alone(pictures):
    before = np.random.get_state()
    first, again, other = (augment_frames(pictures, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_equal(np.random.get_state(), before)
    assert first.shape == pictures.shape and first.dtype == pictures.dtype
    assert first.min() >= 0 and first.max() <= pictures.max()
    np.testing.assert_array_equal(first, again)
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    same = np.repeat(pictures[:1], 5, axis=0)  # each is changed in its own way
    assert len(np.unique(augment_frames(same, np.random.default_rng(5)), axis=0)) == 5
