"""Unpack an archive that came over the network, trusting nothing that it says.

A checksum tells that the publisher's archive arrived, not that it is harmless: one bad member and
all of it is refused. The same holds for the list of a server that offers files one by one.
Recordings are kept, and small texts, because a licence has to stay with what it covers and some
publishers put labels into tables; nothing here reads anything else.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from errno import EXDEV
from pathlib import Path, PurePosixPath
from typing import IO

from helpers.corpora._transfer import DownloadError, check_free_disk
from helpers.corpora.table import AUDIO_SUFFIXES
from helpers.runs import atomic_write

_TEXT_SUFFIXES = frozenset({".txt", ".md", ".csv", ".tsv"})
_TEXT_NAMES = frozenset({"readme", "license", "licence", "copying"})
_LARGEST_TEXT = 4_000_000
# Recordings shrink to a half or a tenth in a zip. The floor is for a few seconds of silence.
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED = 64_000_000
_MOST_MEMBERS = 200_000
_CHUNK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec"
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, UnicodeError),  # a packing method, a name, that is not understood
)


class ArchiveError(DownloadError):
    """What arrived is no archive of recordings that could be unpacked safely."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, or in a list of files, by what is claimed there about it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None = None
    unsafe: str = ""

    @property
    def path(self) -> PurePosixPath:
        """Where it goes, below a folder."""
        return PurePosixPath(self.name)


def unpack_archive(archive: Path, folder: Path) -> None:
    """Write the recordings and small texts of a zip or tar archive below ``folder``.

    Hidden files and what macOS adds (``__MACOSX``) are left out. After an error, ``folder`` may
    hold a part: it should be a temporary one.

    Raises
    ------
    ArchiveError
        Not an archive, damaged, encrypted, without recordings, larger than any recordings would
        unpack to, with git-lfs pointers in their place, or with a member that is a link or a
        device or that would land elsewhere.
    DownloadError
        Larger than what is free on the disk.
    OSError
        ``folder`` cannot be written.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _unpack(_zip_members(opened), archive, folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                _unpack(_tar_members(opened), archive, folder)
        else:
            raise ArchiveError(f"{archive}: found neither a zip nor a tar archive")
    except _DAMAGED as error:
        raise ArchiveError(f"{archive}: damaged ({error}); delete it and fetch anew") from error


def move_into(made: Path, folder: Path) -> None:
    """Move the files of ``made`` to ``folder``: at once where nothing is, otherwise one by one.

    A file of the same name is replaced, as a whole; all others in ``folder`` stay.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        made.rename(folder)
        return
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        target = folder / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(path, target)
        except OSError as error:
            if error.errno != EXDEV:
                raise
            # The corpus folder is a link to another disk.
            with atomic_write(target) as temporary:
                shutil.copyfile(path, temporary)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        unsafe = ""
        if info.flag_bits & 0x1:
            unsafe = "is encrypted"
        elif kind not in (0, stat.S_IFREG):
            unsafe = "is a link or a device"
        # Not `filename`: on Windows it has slashes already where the archive has backslashes.
        yield Member(info.orig_filename, info.file_size, lambda i=info: opened.open(i), unsafe)


def _tar_members(opened: tarfile.TarFile) -> Iterator[Member]:
    for info in opened:
        if info.isdir():
            continue
        unsafe = "" if info.isreg() and not info.issparse() else "is a link or a device"
        yield Member(info.name, info.size, lambda i=info: opened.extractfile(i), unsafe)


def _unpack(members: Iterable[Member], archive: Path, folder: Path) -> None:
    allowed = max(_ALWAYS_ALLOWED, _LARGEST_RATIO * archive.stat().st_size)
    _write(choose_members(members, str(archive), allowed=allowed), archive, folder)


def choose_members(members: Iterable[Member], source: str, *, allowed: int) -> list[Member]:
    """Recordings and small texts among ``members``, of which the claims only are looked at.

    Parameters
    ----------
    members : iterable of Member
    source : str
        Where they come from, for the message.
    allowed : int
        Bytes that all of them may have.

    Raises
    ------
    ArchiveError
        One of them is bad, they are too many or too large, or none is a recording.

    Examples
    --------
    >>> found = [Member("a/1.wav", 9), Member("a/.DS_Store", 9), Member("run.exe", 9)]
    >>> [member.name for member in choose_members(found, "example", allowed=100)]
    ['a/1.wav']
    """
    wanted, total = [], 0
    for count, member in enumerate(members, 1):
        if unsafe := member.unsafe or _unsafe_name(member.name):
            raise ArchiveError(f"{source}: refused, its member {member.name!a} {unsafe}")
        total += member.size
        if member.size < 0 or total > allowed or count > _MOST_MEMBERS:
            raise ArchiveError(
                f"{source}: refused, it would come to {total:,} bytes or more in {count:,} "
                f"files; expected at most {allowed:,} bytes in {_MOST_MEMBERS:,} files"
            )
        if _is_wanted(member):
            wanted.append(member)
    if not any(member.path.suffix.lower() in AUDIO_SUFFIXES for member in wanted):
        raise ArchiveError(f"{source}: no recordings in it; expected {_some(AUDIO_SUFFIXES)}")
    return wanted


def _unsafe_name(name: str) -> str:
    """Why a member of this name could land outside the folder on some system; empty if not."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or any(":" in part for part in parts):
        return "has an absolute path, or one of another system"
    if ".." in parts:
        return "points out of the folder"
    # Control characters, and bytes that are no text, would break terminals and tables.
    unreadable = any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
    return "has a name that cannot be read" if unreadable else ""


def _is_wanted(member: Member) -> bool:
    # A Mac's archive has "._x.wav" files and __MACOSX folders that hold no sound.
    if any(part.startswith((".", "__MACOSX")) for part in member.path.parts):
        return False
    suffix, stem = member.path.suffix.lower(), member.path.stem.lower()
    is_text = suffix in _TEXT_SUFFIXES or (not suffix and stem in _TEXT_NAMES)
    return suffix in AUDIO_SUFFIXES or (is_text and member.size <= _LARGEST_TEXT)


def _write(plan: list[Member], archive: Path, folder: Path) -> None:
    needed = sum(member.size for member in plan)
    check_free_disk(folder, needed, what=f"unpacking {archive.name}")
    for member in plan:
        target = folder.joinpath(*member.path.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with member.open() as source, open(target, "wb") as file:
            # Counted, not believed: a size in the list of contents is only a claim.
            while written <= member.size and (chunk := source.read(_CHUNK)):
                if not written and chunk.startswith(_POINTER):
                    raise _pointer(archive, member)
                written += file.write(chunk)
        if written != member.size:
            raise ArchiveError(
                f"{archive}: refused, its member {member.name!a} has {written} bytes or more, "
                f"expected {member.size}"
            )


def _pointer(archive: Path, member: Member) -> ArchiveError:
    return ArchiveError(
        f"{archive}: refused, its member {member.name!a} is a git-lfs pointer of {member.size} "
        "bytes, expected the recording: the publisher's server left the large files out. Clone "
        "the publisher's repository with git-lfs installed (git lfs clone), or fetch a copy with "
        "--source kaggle"
    )


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:4]) + ", …"
