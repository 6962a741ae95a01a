"""``ser doctor``: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

from helpers.errors import UserError
from helpers.runs import outputs_home, package_versions

_CODECS = "mp3 aac vorbis opus flac alac wmav2 amrnb ac3".split()
_EXTRAS = {"app": "voila", "serve": "fastapi", "cluster": "distributed"}


def report(_arguments: argparse.Namespace) -> int:
    """Say what works on this machine, and the remedy for what does not."""
    for name, found, remedy in examine():
        print(f"{'--' if remedy else 'ok'}  {name:<18} {found}")
        if remedy:
            print(f"{'':22} {remedy}")
    return 0


def examine() -> Iterator[tuple[str, str, str]]:
    """Yield what was looked at, what was found, and the remedy, which is empty if all is well."""
    import psutil
    from av import codecs_available

    from helpers.models.modelfile import SHIPPED, load_model
    from helpers.models.training import prepare_keras
    from helpers.sound.microphone import Microphone

    prepare_keras(0)  # without TensorFlow's chatter
    from tensorflow import config

    yield "versions", ", ".join(map(" ".join, package_versions().items())), ""
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GB"
    yield "machine", f"{platform.platform()}, {os.cpu_count()} cores, {memory}", ""
    yield "GPU", f"{len(config.list_physical_devices('GPU'))} that TensorFlow sees", ""
    absent = [name for name in _CODECS if name not in codecs_available]
    remedy = f"no {', '.join(absent)}: pip install --force-reinstall av" if absent else ""
    yield "decoders", ", ".join(name for name in _CODECS if name not in absent), remedy
    try:
        with Microphone() as microphone:
            yield "microphone", f"{microphone.rate} Hz", ""
    except UserError as error:
        yield "microphone", "none", str(error)
    yield "browser microphone", "on localhost over http, elsewhere over https only", ""
    absent = [extra for extra, package in _EXTRAS.items() if not find_spec(package)]
    remedy = f'no {", ".join(absent)}: pip install -e ".[{",".join(absent)}]"' if absent else ""
    yield "extras", ", ".join(extra for extra in _EXTRAS if extra not in absent), remedy
    try:
        yield "model", f"{SHIPPED}: {', '.join(load_model(SHIPPED)[1]['classes'])}", ""
    except UserError as error:
        yield "model", "cannot be read", str(error)
    there = next(p for p in (outputs_home().absolute() / "x").parents if p.exists())
    remedy = "" if os.access(there, os.W_OK) else "SER_OUTPUTS names a folder to write into"
    yield "outputs", f"{there}, {shutil.disk_usage(there).free / 1e9:.0f} GB free", remedy
