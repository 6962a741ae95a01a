"""Every format in, every bad file named: nothing is decoded silently short, loud or wrong."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
from base64 import b64decode
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.errors import UserError
from helpers.sound.audio import (
    SAMPLE_RATE,
    AudioError,
    check_waveform,
    fit_clip,
    load_audio,
)
from helpers.sound.inspection import inspect_clips

FREQUENCY, AMPLITUDE = 440.0, 0.25
# suffix: soundfile's (format, subtype), or PyAV's (container, codec)
SOUNDFILE = {
    ".wav": ("WAV", "PCM_16"),
    ".24.wav": ("WAV", "PCM_24"),
    ".32.wav": ("WAV", "PCM_32"),
    ".float.wav": ("WAV", "FLOAT"),
    ".double.wav": ("WAV", "DOUBLE"),
    ".ulaw.wav": ("WAV", "ULAW"),
    ".adpcm.wav": ("WAV", "IMA_ADPCM"),
    ".ex.wav": ("WAVEX", "PCM_16"),
    ".rf64.wav": ("RF64", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".aiff": ("AIFF", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
}
PYAV = {
    ".aac": ("adts", "aac"),
    ".m4a": ("ipod", "aac"),
    ".mp4": ("mp4", "aac"),
    ".3gp": ("3gp", "aac"),
    ".webm": ("webm", "libopus"),
    ".mka": ("matroska", "flac"),
    ".wma": ("asf", "wmav2"),
    ".alac.caf": ("caf", "alac"),
    ".lame.mp3": ("mp3", "libmp3lame"),
    ".libopus.ogg": ("ogg", "libopus"),
    ".libflac.flac": ("flac", "flac"),
}
FORMATS = SOUNDFILE | PYAV
LIVE = {".pipe.wav": ("wav", "pcm_s16le")}


def tone(
    *,
    sr: int = 48_000,
    seconds: float = 1.0,
    frequency: float = FREQUENCY,
    level: float = AMPLITUDE,
) -> np.ndarray:
    t = np.arange(round(sr * seconds)) / sr
    return (level * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


class Pipe(io.BytesIO):
    """What a live recorder writes into and what a browser sends: no way back to the header."""

    def seekable(self) -> bool:
        return False


def encode(
    y: np.ndarray, *, sr: int = 48_000, suffix: str = ".wav", live: dict | None = None
) -> bytes:
    """Encode ``y``, shape (n,) or (n, channels); ``live`` with these options, through a pipe."""
    file = io.BytesIO() if live is None else Pipe()
    if suffix in SOUNDFILE:
        form, subtype = SOUNDFILE[suffix]
        soundfile.write(file, y, sr, format=form, subtype=subtype)
        return file.getvalue()
    container, codec = PYAV.get(suffix) or LIVE[suffix]
    channels = np.atleast_2d(y.T)
    layout = {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(file, "w", format=container, options=live or {}) as out:
        stream = out.add_stream(codec, rate=sr, layout=layout)
        stream.bit_rate = 192_000  # LAME turns low rates down by 5 %
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), "fltp", layout)
        frame.sample_rate, frame.pts = sr, 0
        for part in av.AudioResampler(format=stream.codec_context.format).resample(frame):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


def heard(y: np.ndarray, *, sr: int = SAMPLE_RATE) -> tuple[float, float]:
    """Frequency in Hz and amplitude of a tone, away from its ends."""
    middle = y[len(y) // 5 : -len(y) // 5].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**19))
    return spectrum.argmax() * sr / 2**19, np.sqrt(2 * np.mean(middle**2))


def assert_tone(
    y: np.ndarray, *, seconds: float = 1.0, frequency: float = FREQUENCY, level: float = AMPLITUDE
) -> None:
    assert y.dtype == np.float32 and y.ndim == 1 and y.flags.c_contiguous
    # Lossy encoders pad the ends by at most three frames of 1152 at 44.1 kHz.
    assert seconds - 0.03 < len(y) / SAMPLE_RATE < seconds + 0.08
    found_frequency, found_level = heard(y)
    assert found_frequency == pytest.approx(frequency, abs=0.2)
    assert found_level == pytest.approx(level, rel=0.03)


# --- what must come out right ---


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_tone_keeps_pitch_and_level_in_every_format(suffix, channels, tmp_path):
    y = tone()
    path = tmp_path / f"tone{suffix}"
    path.write_bytes(encode(y if channels == 1 else np.stack([y, y], 1), suffix=suffix))
    assert_tone(load_audio(path))


@pytest.mark.parametrize("sr", [8_000, 11_025, 16_000, 22_050, 24_414, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_tone_keeps_pitch_and_level_at_every_rate(sr, suffix):
    assert_tone(load_audio(encode(tone(sr=sr), sr=sr, suffix=suffix)))


def test_same_rate_is_bit_exact():
    y = tone(sr=16_000)
    np.testing.assert_array_equal(load_audio(encode(y, sr=16_000, suffix=".float.wav")), y)


def test_blocks_change_nothing(monkeypatch):
    y = np.random.default_rng(0).normal(0, 0.1, 50_000).astype(np.float32)
    content = encode(y, suffix=".float.wav")
    monkeypatch.setattr("helpers.sound.decoders._BLOCK_FRAMES", 777)
    np.testing.assert_array_equal(load_audio(content), soxr.resample(y, 48_000, 16_000, "VHQ"))


def test_six_channels_are_averaged():
    six = np.stack([tone(level=level) for level in (0.1, 0.2, 0.3, 0.1, 0.2, 0.3)], 1)
    assert_tone(load_audio(encode(six)), level=0.2)
    assert_tone(load_audio(encode(six, suffix=".flac")), level=0.2)


def test_channels_in_opposite_phase_fall_back_to_the_strongest(caplog):
    y = tone()
    assert_tone(load_audio(encode(np.stack([y, 0 * y], 1))), level=AMPLITUDE / 2)
    assert not caplog.text  # one silent channel is no reason to choose
    assert_tone(load_audio(encode(np.stack([y, -y], 1))))
    assert "cancel" in caplog.text
    assert_tone(load_audio(encode(np.stack([0.985 * y, -y], 1))))


@pytest.mark.parametrize("content", [".mp3", ".flac", ".m4a"])
@pytest.mark.parametrize("called", ["clip.wav", "clip", "clip.m3u8"])
def test_content_counts_not_the_name(content, called, tmp_path):
    path = tmp_path / called
    path.write_bytes(encode(tone(), suffix=content))
    assert_tone(load_audio(path))
    with path.open("rb") as file:
        assert_tone(load_audio(file))


def test_every_kind_of_source(tmp_path):
    content = encode(tone())
    path = tmp_path / "喜び, sehr 'laut' 😀.wav"
    path.write_bytes(content)
    file = io.BytesIO(content)
    file.seek(99)  # wherever it stands, it is read from the beginning

    sources = [path, str(path), os.fsencode(path).decode(), content, bytearray(content)]
    for source in [*sources, memoryview(content), file, Pipe(content), path.open("rb")]:
        assert_tone(load_audio(source))
    assert not file.closed


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".webm", {"live": "1"}),
        (".mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
        (".pipe.wav", {}),
        (".lame.mp3", {}),
        (".libopus.ogg", {}),
        (".libflac.flac", {}),
    ],
)
def test_recorders_that_cannot_go_back_to_the_header(suffix, options):
    assert_tone(load_audio(encode(tone(seconds=3), suffix=suffix, live=options)), seconds=3)


#: 0.6 s of a tone of 440 Hz in AMR, which not every FFmpeg can write.
AMR = (
    "IyFBTVIKBIA4H+/rafWOAKnGgAQdPTKruxp1FwTpFTIEPjgyq6u9dRMzrRKEBI09MqbbHlV4ZmmbjASNODWXe3GlnaxQ"
    "n7YEPj0yp3t5VKzYLQuOBI04Npa7E2RD0mWFMgQ+PTKre6x0irOtEowEjTg2prsXREBkGkhYBI09Mma7HVXf0Iwy7gQ+"
    "ODKme+tU60yTCkIEjT0ypmufNRow9HEGBD44Mquru4VzJQ0CiASNPTKmq58FeHE7CUoEjTgypnuflT4QM7y2BD49Mqtr"
    "2LSMxE0KngSNODaXuxKkJ5MJDToEPj0yp6t9tI6TpFK+BI04Nqd7clRGEwTtSASNPTJne121n70OwrwEPjgyq6u5VKtN"
    "EwpCBI09Mmd7XaX7wpWZLgQ+ODKme+tlUy0tAogEjT0yp6udZTosbRYGBI04NZa7E3WfiRKWjAQ+PTKna1n0jNBNS4wE"
    "jTg2pmvDZCIzBy14BD49Mqu7GKTMqSYirgSNODaqe5XkQG0bCFYEjT0yZ3tetZvJBjKmBB2caw8DG+vA9oCmBg=="
)


def test_voice_memo_of_an_old_phone():
    assert heard(load_audio(b64decode(AMR)))[0] == pytest.approx(440, abs=1)


def wav(
    data: bytes, *, promised: int | None = None, sr: int = 16_000, before: bytes = b""
) -> bytes:
    promised = len(data) if promised is None else promised
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sr, 2 * sr, 2, 16)
    body = b"WAVE" + form + before + struct.pack("<4sI", b"data", promised) + data
    return struct.pack("<4sI", b"RIFF", min(len(body), 2**32 - 1)) + body


PCM = (tone(sr=16_000) * 32_767).astype("<i2").tobytes()


@pytest.mark.parametrize("promised", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, len(PCM) + 44])
def test_header_of_a_stream_or_a_sloppy_writer_is_fine(promised):
    assert_tone(load_audio(wav(PCM, promised=promised)))


def test_quiet_is_not_silent():
    y = load_audio(encode(tone(level=4 / 32_768)))
    assert 3 / 32_768 < np.abs(y).max() < 5 / 32_768


# --- what must be refused, by name ---

RIGHT = encode(tone())
BAD = {
    "empty": (b"", "0 bytes"),
    "text": (b"This is a note, not a recording.\n" * 50, "text, beginning 'This is a note"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "text"),
    "random": (np.random.default_rng(0).bytes(20_000), "no sound that can be decoded"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no sound that can be decoded"),
    "header only": (RIGHT[:20], "no sound that can be decoded"),
    "no samples": (wav(b""), "0 samples"),
    "silent": (encode(np.zeros(48_000)), "digital silence"),
    "constant": (encode(np.full(48_000, 0.1)), "digital silence"),
    "50 ms": (encode(tone(seconds=0.05)), "50 ms"),
    "nan": (encode(np.where(np.arange(48_000) == 99, np.nan, tone()), suffix=".float.wav"), "NaN"),
    "integers": (encode(tone() * 32_768, suffix=".float.wav"), "samples up to 8192"),
    "rate of 1 Hz": (wav(PCM, sr=1), "sample rate of 1 Hz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_named_and_explained(case, tmp_path):
    content, found = BAD[case]
    path = tmp_path / f"{case}.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as raised:
        load_audio(path)
    error = raised.value
    assert error.file == str(path)
    assert found in error.found
    assert str(error).startswith(f"{path}: found {error.found}; expected ")
    with pytest.raises(AudioError, match="upload"):
        load_audio(content, name="upload")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.wav", "nothing there"),
        ("x" * 999, "unreadable"),
        ("a\0b.wav", "nothing there"),
        (".", "a folder"),
        ("pipe.wav", "no regular file"),
    ],
)
def test_what_is_no_file_is_refused(name, found, tmp_path):
    if sys.platform != "win32":  # no named pipes in folders there
        os.mkfifo(tmp_path / "pipe.wav")
    elif name == "pipe.wav":
        pytest.skip("no named pipes in folders there")
    with pytest.raises(AudioError, match=found):
        load_audio(tmp_path / name)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_of_what_is_cut_off_the_rest_is_used_and_it_is_said(suffix, part, caplog):
    content = encode(tone(seconds=2), suffix=suffix)
    try:
        # + 1: bare AAC promises nothing, so a cut just between two of its frames cannot be seen.
        y = load_audio(content[: int(len(content) * part) + 1])
    except AudioError as error:
        assert "cut off" in str(error) or "ms of sound" in error.found
        return
    duration_s = len(y) / SAMPLE_RATE
    said = "it is cut off" in caplog.text or "damaged packets" in caplog.text
    assert said or duration_s > 1.9
    assert duration_s > 2 * part - 1.1  # some write in pieces of a second
    assert heard(y)[0] == pytest.approx(FREQUENCY, abs=3)


# --- several recordings in one file ---


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".lame.mp3", ".ogg", ".opus", ".aac"])
def test_recordings_that_were_joined_are_all_decoded(suffix):
    assert_two_tones(load_audio(2 * encode(tone(), suffix=suffix)))


@pytest.mark.parametrize(
    ("suffix", "second"),
    [
        (".wav", ".wav"),
        (".aiff", ".aiff"),
        (".ogg", ".stereo.ogg"),
        (".opus", ".ogg"),
        (".ogg", ".opus"),
    ],
)
def test_what_does_not_go_on_in_one_format_is_said(suffix, second, caplog):
    y = np.stack([tone(), tone()], 1) if "stereo" in second else tone()
    y = load_audio(encode(tone(), suffix=suffix) + encode(y, suffix=second.replace(".stereo", "")))
    assert_tone(y)
    assert "it ends in an error" in caplog.text or "goes on behind its end" in caplog.text


def test_a_page_that_ends_the_stream_may_be_missing(caplog):
    content = bytearray(encode(tone(), suffix=".ogg"))
    last = content.rfind(b"OggS")
    content[last + 5] &= ~4
    content[last + 22 : last + 26] = ogg_sum(
        content[last : last + 22] + bytes(4) + content[last + 26 :]
    )
    assert_tone(load_audio(content))
    assert not caplog.text


def ogg_sum(page: bytes) -> bytes:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc.to_bytes(4, "little")


def test_mp3_may_have_tags_before_between_and_behind():
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 0, 100]) + bytes(100)
    mp3 = encode(tone(), suffix=".mp3")
    assert_two_tones(load_audio(tag + mp3 + tag + mp3 + b"TAG" + bytes(125)))


def assert_two_tones(y: np.ndarray) -> None:
    assert 1.99 < len(y) / SAMPLE_RATE < 2.2  # lossy encoders pad the ends of both
    for half in (y[:16_000], y[-16_000:]):
        assert heard(half)[0] == pytest.approx(FREQUENCY, abs=1)


def test_a_header_that_promises_too_little_is_said(caplog):
    load_audio(wav(PCM, promised=len(PCM) // 3))
    assert "more in it behind the end of the sound that its header says" in caplog.text


@pytest.mark.parametrize("junk", [bytes(500), b"HTTP/1.1 200 OK\r\n\r\n", "random"])
def test_mp3_behind_junk_is_found(junk):
    junk = np.random.default_rng(0).bytes(9_000) if junk == "random" else junk
    assert_two_tones(load_audio(junk + encode(tone(seconds=2), suffix=".mp3")))


# --- parts and channels ---


def test_a_channel_is_taken_alone(tmp_path):
    path = tmp_path / "two.wav"
    path.write_bytes(encode(np.stack([tone(), tone(frequency=660)], 1)))
    assert_tone(load_audio(path, channel=1), frequency=660)
    assert_tone(load_audio(f"{path}#channel=0"))
    assert_tone(load_audio(f"{path}#t=0,0.9", channel=1), seconds=0.9, frequency=660)
    with pytest.raises(AudioError, match="found 2 channels, counted from 0; expected a channel 2"):
        load_audio(path, channel=2)


def test_parts_of_a_file_are_clips_of_their_own(tmp_path):
    path = tmp_path / "talk #1.flac"
    path.write_bytes(encode(np.concatenate([tone(), tone(frequency=660)]), suffix=".flac"))
    parts = [f"{path}#t=0,1", f"{path}#t=1,2", f"{path}#t=1", f"{path}#t=0.5,1.5"]
    assert_tone(load_audio(parts[0]))
    for part in parts[1:3]:
        assert_tone(load_audio(part), frequency=660)
    table = pd.DataFrame({"path": parts, "corpus": "own", "emotion": "sad"})
    good, rejected = inspect_clips(table)
    assert good["duration_s"].tolist() == [1.0] * 4 and rejected.empty
    assert good["sha256"].nunique() == 4
    for wrong, said in (
        ("t=1,2.5", "a recording of 2.00 s; expected one that lasts until 2.5"),
        ("t=1.95,2", "50 ms"),
        ("t=3", "0 ms of sound"),
    ):
        with pytest.raises(AudioError, match=said):
            load_audio(f"{path}#{wrong}")
    with pytest.raises(AudioError, match="nothing there"):
        load_audio(tmp_path / "gone.wav#t=0,1")
    path.with_name("a.wav#t=0,1").write_bytes(encode(tone(seconds=3)))
    assert_tone(load_audio(path.with_name("a.wav#t=0,1")), seconds=3)  # really called so


def test_long_clips_are_cut_into_windows(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(encode(tone(seconds=7.5, sr=16_000), sr=16_000))
    rows = [str(path), f"{path}#t=1,3", f"{path}#t=1,5&channel=0"]
    table = pd.DataFrame({"path": rows, "corpus": "own", "emotion": ["sad", "fear", "happy"]})
    good, rejected = inspect_clips(table, window_s=3)
    assert rejected.empty
    parts = good["path"].str.partition("#")[2]
    assert dict(zip(parts, good["emotion"], strict=True)) == {
        "t=0,3": "sad",
        "t=3,6": "sad",
        "t=4.5,7.5": "sad",
        "t=1,3": "fear",
        "t=1,4&channel=0": "happy",
        "t=2,5&channel=0": "happy",
    }
    assert good["duration_s"].tolist() == [3.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    for wrong in (-1, 0.01, float("nan")):
        with pytest.raises(UserError, match="expected at least 0.5 s, or 0"):
            inspect_clips(table, window_s=wrong)


# --- arrays ---

WAVE = tone(sr=16_000)


@pytest.mark.parametrize(
    "y",
    [
        WAVE,
        WAVE.astype("float64"),
        list(map(float, WAVE)),
        (WAVE * 32768).astype("int16"),
        (WAVE * 2.0**31).astype("int32"),
        np.stack([WAVE, WAVE]),
        np.stack([WAVE, WAVE], 1),
        WAVE[None],
    ],
)
def test_arrays_become_one_waveform(y):
    assert_tone(check_waveform(y))
    np.testing.assert_allclose(check_waveform(y), WAVE, atol=1e-4)


def test_arrays_of_another_rate_are_resampled():
    y = tone(sr=44_100)
    np.testing.assert_allclose(
        check_waveform(y, sr=44_100), soxr.resample(y, 44_100, 16_000, "VHQ")
    )
    for sr in (0, -16_000, 1e9, float("nan"), "16000", None):
        with pytest.raises(AudioError, match="a sample rate of"):
            check_waveform(y, sr=sr)


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (np.zeros(0), "0 ms"),
        (WAVE[:10], "1 ms"),
        (np.zeros(16_000), "digital silence"),
        (np.where(np.arange(16_000) == 9, np.nan, WAVE), "NaN"),
        (WAVE * 32768, "samples up to 8192"),
        (np.zeros((16_000, 9)), "shape"),
        (np.zeros((2, 16_000, 2)), "shape"),
        (WAVE > 0, "bool"),
        (np.array(["a"] * 16_000), "<U1"),
        ([[0.1], [0.1, 0.2]], "object"),
        (None, "object"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(y, found):
    with pytest.raises(AudioError) as raised:
        check_waveform(y, name="mine")
    assert found in raised.value.found and raised.value.file == "mine"


def test_film_without_sound():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no sound track"):
        load_audio(file)


def gives_a_waveform_or_an_audio_error(content: bytes) -> bool:
    try:
        y = load_audio(content)
    except AudioError:
        return True
    return y.dtype == np.float32 and y.ndim == 1 and np.isfinite(y).all()


@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_damaged_bytes_are_understood_or_refused(suffix, changes):
    content = bytearray(encode(tone(seconds=0.3), suffix=suffix))
    for place, value in changes:
        content[place % len(content)] = value
    assert gives_a_waveform_or_an_audio_error(bytes(content))


# --- fitting a clip to a length ---

WAVES = hnp.arrays(
    "float32", st.integers(0, 60), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
)


@given(y=WAVES, n_samples=st.integers(1, 60))
def test_fit_clip_keeps_the_loudest_stretch(y, n_samples):
    fitted = fit_clip(y, n_samples)
    assert fitted.shape == (n_samples,) and fitted.dtype == y.dtype
    if len(y) <= n_samples:
        start = (n_samples - len(y)) // 2
        assert (fitted[start : start + len(y)] == y).all()
        assert np.count_nonzero(fitted) == np.count_nonzero(y)
        return
    windows = np.lib.stride_tricks.sliding_window_view(y, n_samples)
    assert (windows == fitted).all(axis=1).any()
    energies = (windows.astype("float64") ** 2).sum(axis=1)
    assert (fitted.astype("float64") ** 2).sum() >= energies.max() * (1 - 1e-5) - 1e-12


# --- a whole table ---


@pytest.fixture
def mixed_table(tmp_path):
    rows = []
    for case, (content, _) in BAD.items():
        (tmp_path / f"bad {case}.wav").write_bytes(content)
        rows.append((str(tmp_path / f"bad {case}.wav"), "own", "sad"))
    rows.append((str(tmp_path / "bad missing.wav"), "own", "sad"))
    for number in range(70):
        path = tmp_path / f"good {number:02}.wav"
        path.write_bytes(encode(tone(seconds=0.5, frequency=200 + number)))
        rows.append((str(path), "own", "喜び"))
    table = pd.DataFrame(rows, columns=["path", "corpus", "emotion"])
    table["duration_s"] = np.nan
    return table


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (2000, 2390),  # all behind the last whole frame of 400 samples
        (1200, 1201),  # a click where the window of its frame is 0
        (2200, 2201),  # both
        (0, 2390),
    ],
)
def test_band_is_found_wherever_the_sound_is(start, end, tmp_path):
    y = np.zeros(2390)
    y[start:end] = np.random.default_rng(0).uniform(0.1, 0.3, end - start)
    (tmp_path / "edge.wav").write_bytes(encode(y, sr=SAMPLE_RATE))
    table = pd.DataFrame({"path": [str(tmp_path / "edge.wav")], "corpus": "own", "emotion": "sad"})
    good, _ = inspect_clips(table)
    assert good["band_hz"].tolist() == [8000]
    assert good["noise_dbfs"][0] == pytest.approx(-120 if start else -14, abs=2)


def test_bad_clips_are_reported_and_the_rest_goes_on(mixed_table, caplog):
    before = mixed_table.copy()
    good, rejected = inspect_clips(mixed_table)
    pd.testing.assert_frame_equal(mixed_table, before)
    assert list(rejected.columns) == ["path", "corpus", "emotion", "error"]
    assert len(rejected) == len(BAD) + 1 and len(good) == 70
    for row in rejected.itertuples():
        assert Path(row.path).name.startswith("bad ") and row.path in row.error
    assert f"left out {len(BAD) + 1} of" in caplog.text
    assert good.index.tolist() == list(range(70))
    assert good["duration_s"].tolist() == [0.5] * 70
    np.testing.assert_allclose(good["peak_dbfs"], 20 * np.log10(AMPLITUDE), atol=0.1)
    np.testing.assert_allclose(good["rms_dbfs"], 20 * np.log10(AMPLITUDE / 2**0.5), atol=0.1)
    assert good["sha256"].nunique() == 70
    content = Path(good.loc[0, "path"]).read_bytes()
    assert good.loc[0, "sha256"] == hashlib.sha256(content).hexdigest()
