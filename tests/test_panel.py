"""The live panel and the microphone: what is heard, and what is said when it fails."""

from __future__ import annotations

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

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from conftest import skip_or_fail
from IPython.display import HTML, Audio, Image
from scipy import signal

from helpers.app import panel as module
from helpers.app.panel import Panel, analyse, label_samples
from helpers.errors import UserError
from helpers.sound.audio import SAMPLE_RATE
from helpers.sound.microphone import record_microphone

CLASSES = ["neutral", "happy", "sad", "angry"]


class LoudIsAngry:
    """Stands in for a Predictor: the louder, the angrier."""

    classes = CLASSES
    is_synthetic = False

    def predict_audio(self, y: np.ndarray, *, name: str = "") -> pd.DataFrame:
        angry = min(1.0, 2 * float(np.abs(y).max()))
        values = [(1 - angry) / 3] * 3 + [angry]
        row = {"file": name, "start_s": 0.0, "end_s": len(y) / SAMPLE_RATE}
        row |= {"emotion": CLASSES[int(np.argmax(values))], "confidence": max(values)}
        row |= {"sure": max(values) >= 0.7}
        return pd.DataFrame([row | dict(zip(CLASSES, values, strict=True)) | {"error": ""}])


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
    probabilities, words = analyse(LoudIsAngry(), tone(0.4), name="a.wav", truth="angry")
    assert list(probabilities.index) == CLASSES and probabilities.sum() == pytest.approx(1)
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


def test_a_model_of_one_class_names_no_other():
    predictor = LoudIsAngry()
    predictor.classes = ["angry"]
    _, words = analyse(predictor, tone(0.5), name="a.wav")
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
    assert [type(one) for one in shown] == [HTML, Audio, Image]
    assert "angry, 80% sure" in text_of(shown) and "labelled angry: the same" in text_of(shown)


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
    assert not any(c.disabled for c in (panel.upload, panel.listen, panel.sample, panel.record))


def test_nothing_can_be_pressed_while_it_is_busy(shown: list):
    panel = Panel(LoudIsAngry())

    def hear() -> np.ndarray:
        assert all(c.disabled for c in (panel.upload, panel.listen, panel.sample, panel.record))
        return tone()

    panel.answer(hear, name="x")
    assert "sure" in text_of(shown) and not panel.record.disabled


def test_recording_shows_its_state_and_its_level(shown: list, monkeypatch: pytest.MonkeyPatch):
    panel, seen = Panel(LoudIsAngry(), record_s=2.5), []

    def record(duration_s: float, *, on_level) -> np.ndarray:
        seen.append(panel.record.description)
        on_level(1.0, -12.0)
        seen.extend([panel.record.description, panel.hint.value, panel.level.value])
        return tone(duration_s=duration_s)

    monkeypatch.setattr(module, "record_microphone", record)
    assert panel.record.description == "Record 2.5 s"
    panel.record.click()
    assert seen[:2] == ["Opening…", "Recording…"] and seen[3] == -12
    assert seen[2].endswith("<b>recording</b>, 1.5 s left, peak -12 dBFS")
    assert "Heard: the microphone, 2.5 s" in text_of(shown)
    assert panel.record.description == "Record 2.5 s" and panel.level.layout.display == "none"


def test_without_samples_there_is_no_menu(samples: pd.DataFrame):
    assert len(Panel(LoudIsAngry(), samples=samples).children) == 6
    assert len(Panel(LoudIsAngry(), samples=samples[:0]).children) == 5
    assert len(Panel(LoudIsAngry()).children) == 5
    assert len(Panel(LoudIsAngry(), machine=False).children) == 4


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

    def query_devices(self, kind):
        raise self.PortAudioError(*self._error)


@pytest.mark.parametrize(
    "error", [("Error querying device -1",), ("Invalid device", -9996), ("Invalid rate", -9997)]
)
def test_portaudio_errors_are_explained(error: tuple, monkeypatch):
    fake = FakeSoundDevice(*error)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with pytest.raises(UserError, match="No microphone could be used") as raised:
        record_microphone(1)
    assert error[0] in str(raised.value)
    assert fake.restarted, "a microphone that was plugged in later would not be found"


class StereoOnly(FakeSoundDevice):
    """A microphone that opens in stereo only, and whose left channel carries nothing."""

    def query_devices(self, kind):
        return {"default_samplerate": 16_000}

    @contextmanager
    def InputStream(self, *, channels: int, blocksize: int, callback, **_):  # noqa: N802
        block = np.zeros((blocksize, channels), "float32")
        block[:, -1] = 0.25
        for _ in range(4):
            callback(block, blocksize, None, type("status", (), {"input_overflow": False}))
        yield

    def refuse_mono(self, **options):
        if options["channels"] == 1:
            raise self.PortAudioError("Invalid number of channels", -9998)
        return StereoOnly.InputStream(self, **options)


def test_a_microphone_that_opens_in_stereo_only_is_used(monkeypatch):
    fake = StereoOnly()
    fake.InputStream = fake.refuse_mono
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert record_microphone(0.1).tolist() == [0.25] * 1600


@pytest.mark.parametrize("duration_s", [0, -1, 0.05, 601, float("nan"), float("inf")])
def test_impossible_durations_are_refused(duration_s: float):
    with pytest.raises(UserError, match=re.escape(f"duration_s={duration_s}")):
        record_microphone(duration_s)


_WITHOUT_PORTAUDIO = """
import ctypes.util, sys
ctypes.util.find_library = lambda name: None  # where sounddevice looks first
# and, on macOS and Windows, second: the library in its own wheel
sys.modules["_sounddevice_data"] = type(sys)("_sounddevice_data")
sys.modules["_sounddevice_data"].__path__ = ["nowhere"]
from helpers.app.panel import Panel, record_microphone
from helpers.errors import UserError
assert "sounddevice" not in sys.modules, "imported before it was asked for"
Panel(type("Predictor", (), {"classes": ["sad"], "is_synthetic": False}))
try:
    record_microphone(1)
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
from helpers.errors import UserError
from helpers.sound.microphone import record_microphone

def tell(recorded_s, level_dbfs):
    print("recording", flush=True)

try:
    y = record_microphone(float(sys.argv[2]), on_level=tell)
except UserError as error:
    sys.exit(str(error))
np.save(sys.argv[1], y)
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
    assert y.dtype == np.float32 and y.shape == (5 * SAMPLE_RATE,)
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
