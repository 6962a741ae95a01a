"""Mutated input by the thousand: does it end in an answer or in words, and in nothing else?

    python benchmarks/fuzz.py --count 20000
    python benchmarks/fuzz.py sound --count 500 --seed 1
    python benchmarks/fuzz.py sound --only 1234

Each kind runs in child processes that may take 1 GB and 5 s of computing more than they need to
start, and write into their own folder alone. What a child did is a line per input in
``outputs/fuzz/<kind>-<seed>.csv``; a call that was stopped is carried on by the next one. Input
number n of a kind depends on the seed and n alone, so that ``--only n`` makes it again and shows
what happens.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.errors import UserError
from helpers.runs import outputs_home

MEMORY = 2**30  # bytes more than a child has when it starts
OUTSIDE: list[str] = []  # what an input wrote elsewhere, started, or connected to
SECONDS = 5  # of computing, per input
STUCK_S = 180  # without computing: it waits for something
PER_CHILD = 2000  # inputs
BAD = ("crash", "hang", "memory", "outside", "traceback")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SECOND_PATH = {"os.rename": 1, "os.link": 1, "os.symlink": 1, "shutil.move": 1}
_CHANGES = {"os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", *_SECOND_PATH}
_LEAVES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"}

# ---- Mutations ----


def mutate(data: bytes, rng: np.random.Generator, head: int = 200) -> bytes:
    """Change a few places, half of them in the head: bits, lengths, spans, the end."""
    data = bytearray(data)
    for _ in range(rng.geometric(0.4)):
        if not data:
            break
        place = int(rng.integers(len(data)))
        if rng.random() < 0.5:
            place %= head
        span = int(rng.geometric(0.03))
        how = rng.integers(8)
        if how == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif how == 1:
            data[place] = int(rng.integers(256))
        elif how == 2:
            data[place : place + 4] = _extreme(rng, 4)
        elif how == 3:
            data[place : place + 2] = _extreme(rng, 2)
        elif how == 4:
            del data[place : place + span]
        elif how == 5:
            data[place:place] = data[place : place + span] * int(rng.integers(1, 9))
        elif how == 6:
            data[place:place] = rng.bytes(span)
        else:
            del data[place if rng.random() < 0.2 else len(data) - span :]
    return bytes(data)


def _extreme(rng: np.random.Generator, size: int) -> bytes:
    """An integer at the edge of something, in either order of bytes."""
    top = 1 << (8 * size)
    value = int(rng.choice([0, 1, 2, 255, top // 2 - 1, top // 2, top - 2, top - 1, top // 256]))
    return value.to_bytes(size, str(rng.choice(["little", "big"])))


def pick(rng: np.random.Generator, items):
    """One of the items, as it is."""
    return items[int(rng.integers(len(items)))]


SCRIPT = "<script>alert(1)</script>"
TEXTS = ["", " ", "happy", "sad", "angry", "neutral", "Wut", "anna", "01", "1", "a", "ä", "a\u0308"]
TEXTS += ["喜び", "\u202edas", "\u200b", "🙂", "NaN", "nan", "None", "null", "-1", "1e400", "0x1"]
TEXTS += ["²", "٣", "1_0", "inf", "path", "emotion", "confidence", "train", "test", "dev", "male"]
TEXTS += [SCRIPT, '"><img src=x onerror=alert(1)>', "=1+1", "{speaker}", "{{7*7}}", "${x}", "%s%n"]
TEXTS += [
    "a,b",
    "a;b",
    "a\tb",
    "a'b",
    'a"b',
    "a\nb",
    "\\",
    "\r",
    "-",
    "--help",
    ".",
    "..",
    "a" * 300,
]
NAMES = ["a.wav", "b c.flac", "sub/c.wav", "./a.wav", "sub/../a.wav", "sub\\c.wav", "gone.wav"]
NAMES += ["a.wav#t=0,0.2", "a.wav#t=9,1", "a.wav#channel=7", "a.wav#", "/etc/passwd", "/dev/zero"]
NAMES += ["../../a.wav", "sub", "empty.wav", "a.wav\0", "pipe.wav", "D:\\a.wav", "http://x/a.wav"]

MANY = [f"{place}.wav" for place in range(24)]


def spoil(value: object, rng: np.random.Generator) -> object:
    """Another value in place of one in a tree of JSON."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = pick(rng, list(value))
        how = rng.random()
        if how < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if how < 0.15:
            return value | {pick(rng, TEXTS): pick(rng, _ODD)}
        return value | {key: spoil(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = int(rng.integers(len(value)))
        how = rng.random()
        if how < 0.15:
            return value[:place]
        if how < 0.3:
            return value + value[: place + 1]
        return [*value[:place], spoil(value[place], rng), *value[place + 1 :]]
    return pick(rng, _ODD)


_ODD = [None, True, False, 0, 1, -1, 2, 3, 0.5, 1e308, 10**30, float("nan"), float("inf")]
_ODD += [[], {}, [1], [None], {"a": 1}, [[[]]], {"class_name": "Lambda"}, *TEXTS]

# ---- Kinds: each prepares a folder and returns what is tried on it ----


def try_sound(_folder: Path) -> Callable:
    """Recordings in every format, decoded from memory."""
    from helpers.sound.audio import load_audio

    whole = _make_recordings()

    def attempt(rng: np.random.Generator, here: Path) -> None:
        data = mutate(whole[pick(rng, sorted(whole))], rng)
        if rng.random() < 0.05:
            data += mutate(whole[pick(rng, sorted(whole))], rng)
        load_audio(data, name="the sound")

    return attempt


def _make_recordings() -> dict[str, bytes]:
    """A quarter of a second in each format that can be written here."""
    import av
    import soundfile

    y = (0.3 * np.sin(np.arange(4000) / 9)).astype("float32")
    made = {}
    formats = "WAV/PCM_16 WAV/PCM_24 WAV/FLOAT WAV/ULAW WAV/IMA_ADPCM WAV/MS_ADPCM "
    formats += "WAVEX/PCM_16 W64/PCM_16 RF64/PCM_16 AIFF/PCM_16 AIFF/FLOAT AU/PCM_16 CAF/ALAC_16 "
    formats += "CAF/PCM_16 FLAC/PCM_16 OGG/VORBIS OGG/OPUS MP3/MPEG_LAYER_III"
    for name in formats.split():
        file = io.BytesIO()
        container, _, subtype = name.partition("/")
        soundfile.write(file, np.stack([y, y], axis=1), 16_000, subtype, format=container)
        made[name] = file.getvalue()
    others = {"ipod": "aac", "mp4": "aac", "adts": "aac", "webm": "libopus", "matroska": "aac"}
    others |= {"asf": "wmav2", "mp3": "libmp3lame", "mov": "alac", "avi": "mp2"}
    others |= {"flv": "aac", "mpegts": "mp2", "caf": "alac", "ac3": "ac3"}
    for container, codec in others.items():
        file = io.BytesIO()
        file.name = f"x.{container}"
        rate = 44_100 if codec == "wmav2" else 48_000
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = 64_000
            kind = stream.codec_context.codec.audio_formats[0].name
            frame = av.AudioFrame.from_ndarray(np.repeat(y, 3)[None], "fltp", "mono")
            frame.rate = rate
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(kind, "mono", rate, size)
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                output.mux(stream.encode(part))
        made[f"{container} by PyAV"] = file.getvalue()
    return made


def try_list(folder: Path) -> Callable:
    """Lists of recordings: CSV, TSV, JSON, Excel and OpenDocument, in several encodings."""
    _fill(folder)

    def attempt(rng: np.random.Generator, here: Path) -> None:
        known = "path emotion speaker gender split start_s end_s channel_index text file".split()
        header = ["path", "emotion", *rng.permutation(known[2:])[: rng.integers(4)].tolist()]
        if rng.random() < 0.1:
            header = [pick(rng, known + TEXTS) for _ in range(rng.integers(5))]
        rows = [header]
        many = rng.random() < 0.5  # enough to be split
        for place in range(24 if many else rng.integers(1, 8)):
            paths = [MANY[place]] * 20 if many else NAMES
            ours = {"path": paths, "emotion": TEXTS[2:7], "start_s": ["", "0", "0.1"]}
            ours |= {"split": ["train", "test", "dev"], "end_s": [""], "channel_index": [""]}
            odd = rng.random() < 0.03
            rows.append([pick(rng, TEXTS if odd else ours.get(name, TEXTS)) for name in header])
            if rng.random() < 0.01:
                rows[-1][-1:] = [pick(rng, TEXTS) for _ in range(rng.integers(3))]
        suffix = pick(rng, ["csv", "csv", "csv", "tsv", "json", "xlsx", "ods"])
        if suffix in ("xlsx", "ods"):
            data = _write_sheet(rows, suffix, rng)
        elif suffix == "json":
            tree = [dict(zip(header, row, strict=False)) for row in rows[1:]]
            data = json.dumps(spoil(tree, rng)).encode()
        else:
            text = io.StringIO()
            quoting = int(rng.integers(4)) if rng.random() < 0.3 else csv.QUOTE_MINIMAL
            separator = pick(rng, [",", ",", ";", "\t", "|"])
            with contextlib.suppress(csv.Error):
                csv.writer(text, delimiter=separator, quoting=quoting).writerows(rows)
            encoding = pick(rng, ["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])
            data = text.getvalue().encode(encoding, errors="replace")
        if rng.random() < 0.3:
            data = mutate(data, rng)
        path = folder / f"own.{suffix}"
        path.write_bytes(data)
        command = [str(path), "--raters", pick(rng, ["refuse", "share"])]
        if rng.random() < 0.2:
            command += ["--map", pick(rng, ["sad=happy", str(path), *TEXTS])]
        if rng.random() < 0.2:
            command += ["--emotions", pick(rng, TEXTS)]
        _run_ser("corpora", "list", *command)
        _split([path])

    return attempt


def _fill(folder: Path) -> None:
    """A few short recordings, and files that are none."""
    import soundfile

    (folder / "sub").mkdir()
    y = 0.3 * np.sin(np.arange(4000) / 9)
    for name in ("a.wav", "b c.flac", "sub/c.wav", *MANY):
        soundfile.write(folder / name, y, 16_000)
    (folder / "empty.wav").touch()
    os.mkfifo(folder / "pipe.wav")


def _write_sheet(rows: list[list[str]], suffix: str, rng: np.random.Generator) -> bytes:
    """A workbook with one sheet; sometimes a cell, a part or its compression is not as it was."""
    from xml.sax.saxutils import escape

    cells = [[escape(cell.replace("\0", "")) for cell in row] for row in rows]
    if suffix == "ods":
        kind = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
        lines = ["".join(map(kind.format, row)) for row in cells]
        table = "".join(f"<table:table-row>{line}</table:table-row>" for line in lines)
        space = "urn:oasis:names:tc:opendocument:xmlns:"
        names = " ".join(f'xmlns:{n}="{space}{n}:1.0"' for n in ("office", "table", "text"))
        parts = {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:'
            'opendocument:xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="content.xml"'
            ' manifest:media-type="text/xml"/></manifest:manifest>',
            "content.xml": f"<office:document-content {names}><office:body><office:spreadsheet>"
            f'<table:table table:name="1">{table}</table:table></office:spreadsheet></office:body>'
            "</office:document-content>",
        }
    else:
        kind = '<c t="inlineStr"><is><t>{}</t></is></c>'
        lines = ["".join(map(kind.format, row)) for row in cells]
        table = "".join(f"<row>{line}</row>" for line in lines)
        main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        package = "http://schemas.openxmlformats.org/package/2006"
        parts = {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
            "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}"><sheets>'
            '<sheet name="1" sheetId="1" r:id="r1"/></sheets></workbook>',
            "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship '
            f'Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/1.xml"/>'
            "</Relationships>",
            "xl/worksheets/1.xml": f"<worksheet {main}><sheetData>{table}</sheetData></worksheet>",
        }
    parts = {name: text.encode("utf-8", "replace") for name, text in parts.items()}
    if rng.random() < 0.5:
        name = pick(rng, list(parts))
        parts[name] = mutate(parts[name], rng)
    return _zip(parts)


def _zip(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


def try_folder(folder: Path) -> Callable:
    """Folders of recordings with any names, links, pipes, and patterns that read them."""
    _fill(folder)

    def attempt(rng: np.random.Generator, here: Path) -> None:
        root = here / pick(rng, ["own", "train", "ravdess", "a b", "..x", "喜び", "a'b"])
        root.mkdir()
        words = [text.replace("/", "_").replace("\0", "")[:200] for text in TEXTS]
        words = [word for word in words if word not in ("", ".", "..")] + ["Actor_01", "spk1_happy"]
        words += ["03-01-05-01-01-01-01", "OAF_back_angry", "03a01Wa", os.fsdecode(b"\xff\xe9")]
        few = [pick(rng, words) for _ in range(3)]
        for _ in range(rng.integers(1, 40)):
            place = root
            for _ in range(rng.integers(4)):
                place = place / pick(rng, few if rng.random() < 0.8 else words)
            name = pick(rng, words)[:80] + pick(rng, [".wav", ".wav", ".wav", ".WAV", ".mp3", ""])
            with contextlib.suppress(OSError):
                place.mkdir(parents=True, exist_ok=True)
                _make_entry(place / name, folder, pick(rng, range(12)))
        OUTSIDE.clear()  # our own links lead everywhere
        command = [str(root)]
        if rng.random() < 0.3:
            fields = [
                "{speaker}",
                "{emotion}",
                "{}",
                "_",
                "/",
                "-",
                "{emotion",
                "{x}",
                "*",
                "(.*)+",
            ]
            command += ["--pattern", "".join(pick(rng, fields) for _ in range(rng.integers(1, 7)))]
        _run_ser("corpora", pick(rng, ["list", "list", "list", "validate"]), *command)
        _split([root])

    return attempt


def _make_entry(path: Path, folder: Path, how: int) -> None:
    """A recording mostly; else a link in a circle or to nowhere, a pipe, an empty file."""
    if how == 0:
        path.symlink_to("..")
    elif how == 1:
        path.symlink_to("nowhere")
    elif how == 2:
        os.mkfifo(path)
    elif how == 3:
        path.touch()
    elif how == 4:
        path.symlink_to("/dev/zero")
    else:
        os.link(folder / "a.wav", path)


def _split(names: list[Path]) -> None:
    """What notebook 01 does with a table: who is kept for the test, and a page about it."""
    from helpers.columns import PROTOCOLS
    from helpers.corpora import load_corpora
    from helpers.runs import fingerprint
    from helpers.splits import check_enough, make_split

    clips = load_corpora([str(name) for name in names])
    check_enough(clips)
    fingerprint(clips.assign(sha256=""))
    for protocol in PROTOCOLS[:2]:
        make_split(clips, protocol=protocol)


def _run_ser(*command: str) -> None:
    """Run the command as a terminal does; a refusal in words is a UserError again."""
    from helpers.cli import main

    words = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(words):
            code = main(list(command))
    except SystemExit as stop:  # argparse: no such option
        code = stop.code
    if code == 2:
        raise UserError(words.getvalue())


def try_model(folder: Path) -> Callable:
    """Model files: bytes, cards, layers, weights and archives that are not as they were."""
    from helpers.models.prediction import Predictor
    from helpers.report.pages import describe_model, render

    whole = _make_model(folder)
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype("float32")
    path = folder / "changed.keras"

    def attempt(rng: np.random.Generator, here: Path) -> None:
        path.write_bytes(_change_model(whole, dict(members), rng))
        predictor = Predictor(path)
        predictor.introduce()
        predictor.predict_audio(noise)
        page = render("card.html", **describe_model(predictor.card))
        assert not _runs_something(page), "a page that runs something"

    return attempt


def _make_model(folder: Path) -> Path:
    """A small network on the log-mel, with the card of the model that comes along."""
    from keras import Input, Model, layers

    from helpers.features.extract import FeatureSettings
    from helpers.models.builders import with_front_end
    from helpers.models.modelfile import SHIPPED, make_card, read_card, save_model
    from helpers.models.training import prepare_keras

    prepare_keras(0)
    settings = FeatureSettings(clip_s=1.0, n_mels=16)
    shipped = read_card(SHIPPED)
    inputs = Input((None, settings.n_mels))
    x = layers.GlobalAveragePooling1D()(layers.Dense(4, activation="relu")(inputs))
    outputs = layers.Dense(len(shipped["classes"]), activation="softmax")(x)
    model = with_front_end(Model(inputs, outputs, name="t"), settings)
    made = make_card(name="tiny", classes=shipped["classes"], settings=settings)
    return save_model(model, folder / "whole.keras", shipped | made)


def _change_model(whole: Path, members: dict[str, bytes], rng: np.random.Generator) -> bytes:
    how = rng.random()
    if how < 0.25:
        return mutate(whole.read_bytes(), rng)
    if how < 0.35:
        name = pick(rng, list(members))
        members[name] = mutate(members[name], rng)
    elif how < 0.7:
        name = pick(rng, ["card.json", "card.json", "config.json", "metadata.json"])
        tree = json.loads(members[name])
        for _ in range(rng.geometric(0.6)):
            tree = spoil(tree, rng)
        members[name] = json.dumps(tree).encode()
    elif how < 0.8:  # hostile words in every place that takes words
        text = pick(rng, TEXTS)
        tree = json.loads(members["card.json"])
        members["card.json"] = json.dumps(_say_everywhere(tree, text, rng)).encode()
    elif how < 0.9:  # a layer that would run code, or that is none
        tree = members["config.json"].decode()
        old = pick(rng, ["Dense", "GlobalAveragePooling1D", "MelSpectrogram", "Functional"])
        new = ["Lambda", "TFSMLayer", "os.system", "Wrapper", "TorchModuleWrapper", SCRIPT]
        tree = tree.replace(f'"class_name": "{old}"', f'"class_name": "{pick(rng, new)}"')
        modules = ["os", "builtins", "subprocess", "keras.utils", "helpers.cli"]
        if rng.random() < 0.5:
            tree = tree.replace('"module": "keras.layers"', f'"module": "{pick(rng, modules)}"')
        members["config.json"] = tree.encode()
    else:
        strange = ["../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "assets/x", "D:\\evil.txt"]
        name = pick(rng, [*strange, *members])
        size = pick(rng, [10, 10_000] * 5 + [2 * 10**8])
        return _add_zeros(_zip(members), name, size)
    for name in [name for name in members if rng.random() < 0.02]:
        del members[name]
    return _zip(members)


def _say_everywhere(tree: object, text: str, rng: np.random.Generator) -> object:
    if isinstance(tree, dict):
        return {name: _say_everywhere(item, text, rng) for name, item in tree.items()}
    if isinstance(tree, list):
        return [_say_everywhere(item, text, rng) for item in tree]
    return f"{text}{rng.integers(99)}" if isinstance(tree, str) and rng.random() < 0.5 else tree


def _add_zeros(data: bytes, name: str, size: int) -> bytes:
    """The archive with one more member, all zeros: it may unpack to much more than it is."""
    file = io.BytesIO(data)
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "a") as archive:
        with archive.open(info, "w") as member:
            for _ in range(0, size, 10**6):
                member.write(bytes(min(size, 10**6)))
    return file.getvalue()


def _runs_something(page: str) -> bool:
    """Whether a page has a script, or an attribute or link that runs one."""
    from html.parser import HTMLParser

    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links = [value or "" for name, value in attrs if name in ("href", "src")]
            found.append(tag in ("script", "iframe", "object", "embed"))
            found.extend(name.startswith("on") for name, _ in attrs)
            found.extend(link.strip().lower().startswith("javascript:") for link in links)

    Parser().feed(page)
    return any(found)


def try_browser(folder: Path) -> Callable:
    """What a page sends the panel: uploads, pieces of sound, and messages that are none."""
    from helpers.app import panel as module
    from helpers.models.prediction import Predictor

    predictor = Predictor(_make_model(folder))
    whole = _make_recordings()
    shown = []
    module.display = shown.append  # no page is there to show it
    module.clear_output = lambda wait: shown.clear()
    said = []

    def note(answer: dict, *_):
        json.dumps(answer, allow_nan=False)
        error = sys.exc_info()[1]
        if "error" in answer and not isinstance(error, UserError):
            said.append(error)

    def attempt(rng: np.random.Generator, here: Path) -> None:
        said.clear()
        panel = module.Panel(predictor, machine=False)
        panel.recorder.send = note
        if rng.random() < 0.3:
            file = {"name": pick(rng, TEXTS + NAMES), "type": pick(rng, TEXTS), "size": 1}
            data = whole[pick(rng, sorted(whole))]
            data = data if rng.random() < 0.2 else mutate(data, rng)
            file |= {"content": memoryview(data), "last_modified": None}
            panel._upload({"new": pick(rng, [(file,), (file, file), ()])})
        for place in range(rng.integers(1, 5)):
            sound = rng.normal(0, 10.0 ** rng.integers(-6, 5), rng.integers(0, 9000))
            sound = sound.astype("float32").tobytes()
            buffers = [sound if rng.random() < 0.6 else mutate(sound, rng)]
            content = {"first": place == 0, "rate": 16_000, "live": True, "last": place == 3}
            if rng.random() < 0.5:
                content = spoil(content, rng)
            panel.recorder._receive(None, content, pick(rng, [buffers, buffers, buffers, [], None]))
        for one in [*shown, *panel.history.children]:
            page = getattr(one, "data", None) or getattr(one, "value", "")
            if isinstance(page, str):
                assert "Traceback" not in page, page[-600:]
                assert not _runs_something(page), "a page that runs something"
        if said:
            raise said[0]

    return attempt


KINDS = {
    "sound": try_sound,
    "list": try_list,
    "folder": try_folder,
    "model": try_model,
    "browser": try_browser,
}

# ---- The child ----


def work(kind: str, first: int, last: int, seed: int, home: Path, *, show: bool = False) -> None:
    """Try inputs ``first`` to ``last``; each is noted before, and has a line in the table after."""
    place = home / f"{kind}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "given").mkdir(parents=True)
    (place / "here").mkdir()
    own = ("TMPDIR", "SER_OUTPUTS", "SER_DATA", "NUMBA_CACHE_DIR")
    os.environ.update(dict.fromkeys(own, str(place)))
    os.chdir(place)
    sys.dont_write_bytecode = True
    attempt = KINDS[kind](place / "given")
    with contextlib.suppress(Exception):  # whatever is loaded at first use is no input's doing
        attempt(np.random.default_rng(0), place / "here")
    _watch(place)
    limit = _memory_now() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    now = os.open(home / f"{kind}-{seed}.now", os.O_WRONLY | os.O_CREAT)
    with open(home / f"{kind}-{seed}.csv", "a", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        for n in range(first, last):
            os.pwrite(now, f"{n:12d}".encode(), 0)
            shutil.rmtree(place / "here", ignore_errors=True)
            (place / "here").mkdir()
            OUTSIDE.clear()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            begin = time.process_time()
            verdict, detail = "answered", ""
            try:
                attempt(np.random.default_rng([seed, *kind.encode(), n]), place / "here")
            except MemoryError:
                verdict, detail = "memory", _last_line()
            except Exception as error:
                in_words = isinstance(error, UserError)
                in_words |= isinstance(error, OSError) and error.strerror is not None
                verdict = "refused" if in_words else "traceback"
                detail = str(error)[:100] if in_words else _last_line()
                if show:
                    traceback.print_exc()
            signal.setitimer(signal.ITIMER_PROF, 0)
            if OUTSIDE:
                verdict, detail = "outside", OUTSIDE[0]
            seconds = time.process_time() - begin
            table.writerow([n, verdict, f"{seconds:.3f}", detail])
            file.flush()


def _last_line() -> str:
    """The error, and the last line of the project that it went through."""
    kind, error, trace = sys.exc_info()
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames if "/helpers/" in frame.filename] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{kind.__name__} at {where}: {str(error)[:120]!r}"


def _watch(place: Path) -> None:
    """Note in ``OUTSIDE`` what Python writes outside of ``place``, starts, or connects to."""

    def inside(path: object) -> bool:
        if isinstance(path, int):
            return True
        whole = os.path.realpath(os.path.abspath(os.fsdecode(path)))
        return whole.startswith((str(place) + os.sep, "/dev/null")) or whole == str(place)

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and (arguments[2] or 0) & _WRITES and not inside(arguments[0]):
            OUTSIDE.append(f"open {arguments[0]!r}")
        elif event in _CHANGES and not inside(arguments[_SECOND_PATH.get(event, 0)]):
            OUTSIDE.append(f"{event} {arguments!r}")
        elif event in _LEAVES:
            OUTSIDE.append(f"{event} {arguments!r}"[:200])

    place = Path(os.path.realpath(place))
    sys.addaudithook(note)


def _memory_now() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


# ---- The parent ----


def fuzz(kind: str, count: int, seed: int, home: Path) -> Counter:
    """Try ``count`` inputs of a kind, in as many children as it takes; return the verdicts."""
    path, now = home / f"{kind}-{seed}.csv", home / f"{kind}-{seed}.now"
    while (first := _count_lines(path)) < count:
        last = min(count, first + PER_CHILD)
        span = ["--first", str(first), "--last", str(last), "--seed", str(seed)]
        command = [sys.executable, __file__, kind, "--child", "--out", str(home), *span]
        with open(home / f"{kind}-{seed}.log", "ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            stuck = _wait(child, path)
        if child.returncode == 0:
            continue
        at = int(now.read_text()) if now.exists() else -1
        if at < first or at != _count_lines(path):
            raise SystemExit(f"{kind}: a child could not start, see {home / f'{kind}-{seed}.log'}")
        is_hang = stuck or child.returncode == -signal.SIGPROF
        verdict = "hang" if is_hang else "crash"
        with open(path, "a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow([at, verdict, "", f"exit {child.returncode}"])
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[:count]
    for detail, n in Counter(row[3] for row in rows if row[1] in BAD).most_common(20):
        example = next(row for row in rows if row[3] == detail and row[1] in BAD)
        print(f"  {n} × {example[1]}, such as {example[0]}: {detail}", flush=True)
    return Counter(row[1] for row in rows)


def _count_lines(path: Path) -> int:
    if not path.exists():
        return 0
    with open(path, encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file))


def _wait(child: subprocess.Popen, path: Path) -> bool:
    """Wait for the child; True if it did nothing for so long that it was ended."""
    size, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.2)
        grown = path.stat().st_size if path.exists() else 0
        if grown != size:
            size, since = grown, time.monotonic()
        elif time.monotonic() - since > STUCK_S:
            child.kill()
            child.wait()
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", default=[], metavar=" | ".join(KINDS))
    parser.add_argument("--count", type=int, default=500, help="inputs per kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one input, with its traceback")
    parser.add_argument("--out", type=Path, default=outputs_home() / "fuzz")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not set(given.kinds) <= set(KINDS):
        parser.error(f"kinds {', '.join(given.kinds)}: expected some of {', '.join(KINDS)}")
    given.kinds = given.kinds or list(KINDS)
    home = given.out.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if given.child:
        work(given.kinds[0], given.first, given.last, given.seed, home)
    elif given.only is not None:
        home = home / "only"
        home.mkdir(exist_ok=True)
        work(given.kinds[0], given.only, given.only + 1, given.seed, home, show=True)
    else:
        failed = False
        for kind in given.kinds:
            begin = time.monotonic()
            counts = fuzz(kind, given.count, given.seed, home)
            told = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
            minutes = (time.monotonic() - begin) / 60
            print(f"{kind}: {counts.total()} inputs, seed {given.seed}: {told} ({minutes:.1f} min)")
            failed |= any(counts[verdict] for verdict in BAD)
        sys.exit(failed)


if __name__ == "__main__":
    main()
