"""The live panel and the microphone: what is heard, and what is said when it fails."""

from __future__ import annotations

import base64
import html
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from conftest import skip_or_fail
from IPython.display import HTML, Audio
from rich.console import Console
from scipy import signal
from tiny import voice

from helpers.app import panel as module
from helpers.app.live import Live
from helpers.app.panel import Panel, analyse, label_samples
from helpers.app.screen import draw
from helpers.errors import UserError
from helpers.models.prediction import Predictor, find_model
from helpers.sound.audio import SAMPLE_RATE
from helpers.sound.microphone import Microphone

CLASSES = ["neutral", "happy", "sad", "angry"]


class LoudIsAngry:
    """Stands in for a Predictor: the louder, the angrier."""

    classes = CLASSES
    is_synthetic = False

    def follow_audio(self, y: np.ndarray, *, name: str = "") -> tuple[pd.DataFrame, pd.DataFrame]:
        angry = min(1.0, 2 * float(np.abs(y).max()))
        values = [(1 - angry) / 3] * 3 + [angry]
        row = {"file": name, "start_s": 0.0, "end_s": len(y) / SAMPLE_RATE}
        row |= {"emotion": CLASSES[int(np.argmax(values))], "confidence": max(values)}
        row |= {"sure": max(values) >= 0.7}
        row |= dict(zip(CLASSES, values, strict=True))
        quiet = angry < 0.01
        if quiet:
            row |= {"emotion": "", "confidence": np.nan, **dict.fromkeys(CLASSES, np.nan)}
        table = pd.DataFrame([row | {"reason": "too quiet" if quiet else "", "error": ""}])
        return table, table.drop(columns="error")


def tone(peak: float = 0.4, duration_s: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    return (peak * np.sin(2 * np.pi * 220 * time_s)).astype("float32")


@pytest.fixture
def samples(tmp_path: Path) -> pd.DataFrame:
    """Three clips, of which the last one does not exist."""
    for name, peak in (("loud.wav", 0.4), ("soft.wav", 0.01)):
        soundfile.write(tmp_path / name, tone(peak), SAMPLE_RATE)
    rows = [("loud.wav", "angry"), ("soft.wav", "happy"), ("gone.wav", "boredom")]
    return pd.DataFrame(
        [(str(tmp_path / name), emotion, "me-01", "a <b>word</b>") for name, emotion in rows],
        columns=["path", "emotion", "speaker", "text"],
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What the panel displayed last."""
    objects: list = []
    monkeypatch.setattr(module, "display", objects.append)
    monkeypatch.setattr(module, "clear_output", lambda wait: objects.clear())
    return objects


def text_of(shown: list) -> str:
    """The words that a reader sees."""
    boxes = [one.data for one in shown if isinstance(one, HTML)]
    return html.unescape(re.sub(r"<[^>]+>", " ", " ".join(boxes)))


def upload(panel, name: str, content: bytes) -> None:
    """Do what the browser does when a file was chosen."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    panel.upload.value = (file | {"last_modified": datetime.now(UTC)},)


# ---- The answer, without widgets ----


def test_analyse_puts_the_answer_in_words():
    row, words, windows = analyse(LoudIsAngry(), tone(0.4), name="a.wav", truth="angry")
    assert row["emotion"] == "angry" and row[CLASSES].sum() == pytest.approx(1)
    assert len(windows) == 1
    assert words == [
        "angry, 80% sure",
        "Next: neutral 7%, happy 7%.",
        "Heard: a.wav, 1.0 s, peak -8 dBFS.",
        "The clip is labelled angry: the same.",
    ]


@pytest.mark.parametrize(
    ("peak", "truth", "first", "last"),
    [
        (0.2, "sad", "Not sure. Perhaps angry, 40%", "labelled sad: not what the model heard."),
        (0.4999, "boredom", "angry, over 99% sure", "boredom, which this model does not know."),
        (0.5, "", "angry, 100% sure", "peak -6 dBFS."),
    ],
)  # fmt: skip
def test_words_say_how_sure_it_is(peak: float, truth: str, first: str, last: str):
    words = analyse(LoudIsAngry(), tone(peak), name="a", truth=truth)[1]
    assert words[0] == first and words[-1].endswith(last)


def test_words_say_why_there_is_no_emotion():
    words = analyse(LoudIsAngry(), tone(0.001), name="a", truth="sad")[1]
    assert words == [
        "Too quiet",
        "Come closer to the microphone, or raise its level.",
        "Heard: a, 1.0 s, peak -60 dBFS.",
    ]


def test_a_model_of_one_class_names_no_other():
    predictor = LoudIsAngry()
    predictor.classes = ["angry"]
    _, words, _ = analyse(predictor, tone(0.5), name="a.wav")
    assert words == ["angry, 100% sure", "Heard: a.wav, 1.0 s, peak -6 dBFS."]


def test_samples_are_labelled_in_the_usual_order(samples: pd.DataFrame):
    labels = label_samples(pd.concat([samples, samples]))
    emotions = [label.split(" · ")[0] for label, _ in labels]
    assert emotions == ["happy"] * 2 + ["angry"] * 2 + ["boredom"] * 2
    assert labels[0] == ("happy · me-01 · a <b>word</b>", 1)
    assert len({label for label, _ in labels}) == len(labels)


def test_a_large_table_is_offered_in_part_and_evenly(samples: pd.DataFrame):
    many = pd.concat([samples] * 1000, ignore_index=True)
    labels = label_samples(many)
    assert len(labels) <= 240 and len({place for _, place in labels}) == len(labels)
    shares = many["emotion"].iloc[[place for _, place in labels]].value_counts(normalize=True)
    assert (shares - 1 / 3).abs().max() < 0.1


# ---- The panel ----


def test_a_sample_is_answered_with_words_player_and_pictures(samples: pd.DataFrame, shown: list):
    panel = Panel(LoudIsAngry(), samples=samples)
    panel.sample.value = 0
    panel.listen.click()
    assert [type(one) for one in shown] == [HTML, HTML, Audio]
    assert "angry, 80% sure" in text_of(shown) and "labelled angry: the same" in text_of(shown)
    assert 'aria-label="Probabilities: neutral 7%, happy 7%, sad 7%, angry 80%"' in shown[1].data
    assert 'alt="Waveform and mel spectrogram"' in panel.picture.value


def test_an_upload_is_answered_and_the_same_file_can_be_chosen_again(shown: list):
    panel = Panel(LoudIsAngry())
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone(0.4)] * 2, axis=1), SAMPLE_RATE, format="FLAC")
    for _ in range(2):
        shown.clear()
        upload(panel, "memo <i>.flac", file.getvalue())
        assert "memo <i>.flac" in text_of(shown) and "<i>" not in shown[0].data
        assert panel.upload.value == ()


def test_errors_end_up_on_the_page(samples: pd.DataFrame, shown: list):
    panel = Panel(LoudIsAngry(), samples=samples)
    upload(panel, "notes.txt", b"not a sound at all" * 50)
    assert "notes.txt: found text" in text_of(shown) and "Details" not in text_of(shown)
    panel.sample.value = 2
    panel.listen.click()
    assert "gone.wav" in text_of(shown) and "Traceback" not in text_of(shown)
    panel.predictor = None
    panel.sample.value = 0
    panel.listen.click()
    assert "An unexpected error" in text_of(shown) and "AttributeError" in text_of(shown)
    assert not any(c.disabled for c in (panel.upload, panel.listen, panel.sample))


def test_nothing_can_be_pressed_while_it_is_busy(shown: list):
    panel = Panel(LoudIsAngry())

    def hear() -> np.ndarray:
        assert all(c.disabled for c in (panel.upload, panel.listen, panel.sample))
        return tone()

    panel.answer(hear, name="x")
    assert "sure" in text_of(shown) and not panel.upload.disabled


def test_what_was_recorded_is_answered_and_a_muted_microphone_explained(shown: list):
    panel = Panel(LoudIsAngry(), record_s=2.5)
    live = Live(panel.predictor, sr=SAMPLE_RATE)
    live.hear(tone(duration_s=2.5))
    panel.recorder._take(live)
    assert "Heard: the microphone, 2.5 s" in text_of(shown)
    muted = Live(panel.predictor, sr=SAMPLE_RATE)
    muted.hear(np.zeros(SAMPLE_RATE, "float32"))
    panel.recorder._take(muted)
    assert "Only silence was recorded" in text_of(shown)


def test_without_an_emotion_there_is_a_player_and_no_picture(shown: list):
    panel = Panel(LoudIsAngry())
    panel.answer(lambda: tone(0.4), name="x")
    panel.answer(lambda: tone(0.001), name="x")
    assert [type(one) for one in shown] == [HTML, Audio] and "Too quiet" in text_of(shown)
    assert panel.picture.value == "" and panel.why.disabled


def test_the_history_has_players_and_a_csv(shown: list):
    panel = Panel(LoudIsAngry())
    for place in range(25):
        panel.answer(lambda: tone(0.4), name=f"take <{place}>")
    link, *lines = panel.history.children
    assert len(lines) == 20 and all("<audio" in line.value for line in lines)
    assert "take &lt;24&gt;" in lines[0].value and "angry, 80% sure" in lines[0].value
    content = base64.b64decode(link.value.partition("base64,")[2].partition('"')[0])
    table = pd.read_csv(io.BytesIO(content))
    assert table["file"].tolist() == [f"take <{place}>" for place in range(25)]


def test_a_clip_is_kept_with_what_was_meant_if_one_says_so(tmp_path: Path, shown: list):
    class Strange(LoudIsAngry):
        classes = [*CLASSES, "../out"]  # the names are those of a file from anywhere

    panel = Panel(Strange(), keep=tmp_path / "mine")
    assert panel.keep.disabled
    panel.meant.value = "sad"
    assert panel.keep.disabled  # nothing was heard yet
    panel._heard = tone(0.4)
    for meant in ("happy", "../out"):
        panel.meant.value = meant
        assert not panel.keep.disabled
        panel.keep.click()
        assert panel.kept.value.startswith("kept: ") and panel.keep.disabled
    first, second = sorted(tmp_path.rglob("*.wav"))
    assert first.parent == tmp_path / "mine" / "___out"
    assert second.parent == tmp_path / "mine" / "happy"
    np.testing.assert_allclose(soundfile.read(second)[0], tone(0.4), atol=1e-4)
    assert len(Panel(LoudIsAngry()).children) == len(panel.children) - 1  # not offered


def test_what_spoke_for_the_answer_is_shown_on_request(shown: list):
    panel = Panel(Predictor(find_model()))
    panel.answer(lambda: voice(duration_s=2.0), name="x")
    assert "sure" in text_of(shown).lower() and panel.explained.value == ""
    panel.why.click()
    assert "in orange what speaks for the emotion" in panel.explained.value
    assert panel.why.disabled  # it is there
    panel.answer(lambda: voice(duration_s=1.0), name="y")
    assert panel.explained.value == "" and not panel.why.disabled
    upload(panel, "notes.txt", b"not a sound at all" * 50)  # what was shown is of another sound
    assert panel.picture.value == "" and panel.why.disabled


def test_a_model_without_a_picture_of_the_sound_says_so(shown: list):
    predictor = LoudIsAngry()
    predictor.model = SimpleNamespace(name="svm", layers=[SimpleNamespace(name="columns")])
    panel = Panel(predictor)
    panel.answer(lambda: tone(0.4), name="x")
    panel.why.click()
    assert "has no picture to explain" in panel.explained.value and not panel.why.disabled
    predictor.model = None
    panel.why.click()
    assert (
        "An unexpected error" in panel.explained.value and "AttributeError" in panel.explained.value
    )


def test_without_samples_there_is_no_menu(samples: pd.DataFrame):
    assert len(Panel(LoudIsAngry(), samples=samples).children) == 8
    assert len(Panel(LoudIsAngry(), samples=samples[:0]).children) == 7
    assert Panel(LoudIsAngry(), machine=False).recorder.machine is False


# ---- The microphone that is not there ----


class FakeSoundDevice:
    """PortAudio without a device, or with one that fails in the given way."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *error: object) -> None:
        self._error, self.restarted = error, False
        self.default = type("default", (), {"device": [-1, -1]})

    def _terminate(self) -> None:
        self.restarted = True

    def _initialize(self) -> None:
        pass

    CallbackAbort = StopIteration

    def query_devices(self, device=None, kind=None):
        raise self.PortAudioError(*self._error)


@pytest.mark.parametrize(
    "error", [("Error querying device -1",), ("Invalid device", -9996), ("Invalid rate", -9997)]
)
def test_portaudio_errors_are_explained(error: tuple, monkeypatch):
    fake = FakeSoundDevice(*error)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with pytest.raises(UserError, match="No microphone could be used") as raised:
        Microphone()
    assert error[0] in str(raised.value)
    assert fake.restarted, "a microphone that was plugged in later would not be found"


class StereoOnly(FakeSoundDevice):
    """A microphone that opens in stereo only, and whose left channel carries nothing."""

    def query_devices(self, device=None, kind=None):
        if device not in (None, "USB"):
            raise ValueError(f"No input device matching {device!r}")
        return {"default_samplerate": 16_000}

    def InputStream(self, *, channels: int, blocksize: int, callback, **_):  # noqa: N802
        if channels == 1:
            raise self.PortAudioError("Invalid number of channels", -9998)
        block = np.zeros((blocksize, channels), "float32")
        block[:, -1] = 0.25
        status = SimpleNamespace(input_overflow=False)

        def start() -> None:
            for _ in range(4):
                callback(block, blocksize, None, status)

        return SimpleNamespace(start=start, close=lambda: None)


def test_a_microphone_that_opens_in_stereo_only_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", StereoOnly())
    with Microphone("USB") as microphone:
        assert microphone.rate == SAMPLE_RATE
        assert microphone.read().tolist() == [0.25] * 3200  # all that waited, at once
    with pytest.raises(UserError, match="No input device matching 'none'. There are:"):
        Microphone("none")


def test_a_microphone_that_nobody_reads_stops(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", StereoOnly())
    microphone = Microphone()
    block, status = np.zeros((800, 1), "float32"), SimpleNamespace(input_overflow=False)
    with pytest.raises(StopIteration):
        for _ in range(400):  # 20 s
            microphone._take(block, 800, None, status)


_WITHOUT_PORTAUDIO = """
import ctypes.util, sys
ctypes.util.find_library = lambda name: None  # where sounddevice looks first
# and, on macOS and Windows, second: the library in its own wheel
sys.modules["_sounddevice_data"] = type(sys)("_sounddevice_data")
sys.modules["_sounddevice_data"].__path__ = ["nowhere"]
from helpers.app.panel import Panel
from helpers.sound.microphone import Microphone
from helpers.errors import UserError
assert "sounddevice" not in sys.modules, "imported before it was asked for"
Panel(type("Predictor", (), {"classes": ["sad"], "is_synthetic": False}))
try:
    Microphone()
except UserError as error:
    print(error)
"""


def test_a_missing_library_is_explained():
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_PORTAUDIO], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sudo apt install libportaudio2" in done.stdout and "upload" in done.stdout


# ---- The microphone that is there ----


@contextmanager
def sound_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a PulseAudio of our own whose microphone hears what is played; yield the environment."""
    if not all(map(shutil.which, ("pulseaudio", "pactl", "paplay"))):
        skip_or_fail("no PulseAudio: apt install pulseaudio pulseaudio-utils libasound2-plugins")
    alsa = folder / "asound.conf"
    alsa.write_text(
        "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n"
    )
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    own = {"HOME": folder, "XDG_RUNTIME_DIR": runtime, "XDG_CONFIG_HOME": folder}
    own |= {"PULSE_SERVER": f"unix:{runtime}/socket", "ALSA_CONFIG_PATH": alsa}
    environment = os.environ | {key: str(value) for key, value in own.items()}
    environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
    modules = [
        f"module-native-protocol-unix auth-anonymous=1 socket={runtime}/socket",
        "module-null-sink sink_name=room rate=48000 channels=2",
    ]
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
    command += [f"--load={module}" for module in modules]
    with open(folder / "pulseaudio.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        ready = ["pactl", "set-default-source", "room.monitor"]
        while subprocess.run(ready, env=environment, capture_output=True).returncode:
            assert server.poll() is None and time.monotonic() < end, (
                folder / "pulseaudio.log"
            ).read_text()
            time.sleep(0.1)
        yield environment
    finally:
        server.terminate()
        server.wait(10)


_RECORD = """
import sys
import numpy as np
from helpers.app.live import Live
from helpers.errors import UserError
from helpers.sound.microphone import Microphone

try:
    with Microphone() as microphone:
        live = Live(None, sr=microphone.rate)
        while live.heard_s < float(sys.argv[2]):
            live.hear(microphone.read())
            print("recording", flush=True)
    np.save(sys.argv[1], live.sound)
except UserError as error:
    sys.exit(str(error))
"""


def record_in_subprocess(
    folder: Path, environment: dict[str, str], duration_s: float, played: Path | None = None
) -> tuple[np.ndarray | None, str]:
    """Record in a process that sees the sound server; play a file once it records."""
    found = folder / "recorded.npy"
    # PortAudio reads the environment of the process, hence the subprocess.
    recorder = subprocess.Popen(
        [sys.executable, "-c", _RECORD, str(found), str(duration_s)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert recorder.stdout is not None
    if recorder.stdout.readline() and played:
        subprocess.run(["paplay", str(played)], env=environment, check=True, timeout=60)
    _, error = recorder.communicate(timeout=120)
    return (np.load(found) if found.exists() else None), error


@pytest.mark.microphone
def test_what_is_played_is_recorded(tmp_path: Path):
    """A chirp through a real sound server comes back at the right time scale and level."""
    rate, duration_s = 44_100, 1.5
    time_s = np.arange(int(rate * duration_s)) / rate
    chirp = 0.5 * np.sin(2 * np.pi * (100 * time_s + 1000 * time_s**2))  # 100 to 3100 Hz
    # The silence before it gives the server time to start playing.
    soundfile.write(tmp_path / "chirp.wav", np.concatenate([np.zeros(rate // 2), chirp]), rate)
    with sound_server(tmp_path) as environment:
        y, error = record_in_subprocess(tmp_path, environment, 5.0, tmp_path / "chirp.wav")
    assert y is not None, error
    assert y.dtype == np.float32 and 5 <= len(y) / SAMPLE_RATE < 6
    # Finer than 16 kHz, because it does not begin exactly at a sample.
    fine = 8 * SAMPLE_RATE
    y, played = soxr.resample(y, SAMPLE_RATE, fine), soxr.resample(chirp, rate, fine)
    start = int(signal.correlate(y, played, "valid").argmax())
    heard = y[start : start + len(played)]
    assert np.corrcoef(heard, played)[0, 1] > 0.99
    assert np.std(heard) == pytest.approx(np.std(played), rel=0.02), "the level was changed"
    edge = fine // 20
    quiet = np.concatenate([y[: max(0, start - edge)], y[start + len(played) + edge :]])
    assert np.abs(quiet).max() < 0.01


@pytest.mark.microphone
def test_a_muted_microphone_is_explained(tmp_path: Path):
    with sound_server(tmp_path) as environment:
        y, error = record_in_subprocess(tmp_path, environment, 0.5)
    assert y is None and error.startswith("Only silence was recorded.")


@pytest.mark.microphone
def test_ser_live_says_what_is_played_and_keeps_it(tmp_path: Path):
    y = np.concatenate([np.zeros(SAMPLE_RATE // 2), voice(900, duration_s=6.0)])
    soundfile.write(tmp_path / "voice.wav", y, SAMPLE_RATE)
    out = {"--save": tmp_path / "heard.wav", "--csv": tmp_path / "heard.csv"}
    words = ["live", "--seconds", "8", *(str(word) for pair in out.items() for word in pair)]
    with sound_server(tmp_path) as environment:
        program = subprocess.Popen(
            [sys.executable, "-m", "helpers.cli", *words], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        while program.poll() is None and not any(tmp_path.glob("*.csv")):
            subprocess.run(["paplay", tmp_path / "voice.wav"], env=environment, timeout=60)
        said, error = program.communicate(timeout=60)
    assert program.returncode == 0, error
    heard, sr = soundfile.read(out["--save"])
    assert sr == SAMPLE_RATE and len(heard) / sr > 8
    table = pd.read_csv(out["--csv"])
    print(f"{len(table) / 8:.1f} estimates a second")
    assert len(table) > 8 and (table["reason"].isna() & table["emotion"].notna()).any()
    assert table["emotion"].dropna().iloc[-1] in said and "█" in said


def test_a_terminal_shows_bars_and_a_strip():
    predictor = SimpleNamespace(classes=CLASSES)
    talk = Live(predictor, sr=SAMPLE_RATE)
    talk.heard_s = 2.0
    answers = dict.fromkeys(CLASSES, 0.1) | {"angry": 0.7}
    angry = {"emotion": "angry", "confidence": 0.7, "sure": True, "reason": ""}
    talk.rows = [{"reason": "no speech", "emotion": ""}, angry | answers]
    console = Console(record=True, width=80)
    console.print(draw(talk, -12.0))
    lines = console.export_text().splitlines()
    assert lines[0] == "angry 70%   (2 s, -12 dBFS)" and lines[-1] == "·█"
    assert len(lines) == 2 + len(CLASSES) and lines[4].endswith("70%")
