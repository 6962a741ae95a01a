"""A folder of one's own: which level of it is the emotion, which the speaker, which the side.

Folders mean different things to different people. So the names decide, not the depth: a level whose
names are words for emotions is the emotion, one of ``train``, ``val`` and ``test`` is the side, and
files that are named by the rule of a published corpus are that corpus, wherever they lie. What
cannot be told is said, together with what was assumed.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from helpers.corpora.corpus import Corpus
from helpers.corpora.labels import (
    AS_WRITTEN,
    Reading,
    find_emotion,
    find_facts,
    normalize,
    read_emotion,
    read_field,
    read_side,
)
from helpers.corpora.manifest import name_list
from helpers.corpora.table import (
    Listing,
    find_files,
    make_listing,
    merge_listings,
    name_few,
    name_own,
)
from helpers.errors import UserError

_FIELDS = "speaker emotion gender intensity text split language channel".split()
_A_PERSON = re.compile(r"(actor|speaker|spk|spkr|subject|person|participant|user|[a-z])?[ _-]*\d+")
_SHARE = 0.2  # of the clips, lie under a word for an emotion: then the level is the emotion
_LOG = logging.getLogger(__name__)
_Level = tuple[str, ...]  # of the folders: its name for each clip, empty where there is none


def load_folders(
    root: str | Path, published: Iterable[Corpus] = (), reading: Reading = AS_WRITTEN
) -> Listing:
    """List the clips below a folder by the names of its folders, or of its files.

    Parameters
    ----------
    root : path
    published : iterable of Corpus
        Corpora whose naming rules are tried first. Where most of the files follow one, they are
        clips of that corpus.
    reading : Reading
        ``pattern`` is read here.

    Returns
    -------
    Listing
        The clips have a column ``split`` where a level of the folders says the sets. Audio files
        that have no label are left out as ``unparsed``, all others as ``other``.

    Raises
    ------
    UserError
        No audio file, none that has a label, or a pattern that fits none of the files.
    """
    root = Path(os.path.abspath(root))
    files, others = find_files(root)
    left_out = [(str(path), "other") for path in others]
    if not files:
        raise UserError(_say_empty(root, others))
    if not reading.pattern:
        recognised = _list_published(root, files, published)
        if recognised is not None:
            return merge_listings([recognised, make_listing([], left_out)])
    read_name = _compile_pattern(reading.pattern)
    rows = []
    for path, row in zip(files, _read_folders(root, files, reading.pattern), strict=True):
        named = read_name(path.relative_to(root).with_suffix(""))
        row |= named or {}
        if named is None or not row["emotion"] or not row.get("split", "train"):
            left_out.append((str(path), "unparsed"))
        else:
            rows.append({"path": str(path), **row})
    if not rows:
        raise UserError(_say_unlabelled(root, files, reading.pattern))
    return name_own(name_list(root), rows, left_out)


def _list_published(root: Path, files: list[Path], published: Iterable[Corpus]) -> Listing | None:
    """Clips of published corpora, where at least half of the files are named by their rules."""
    found = [corpus.list_files(files) for corpus in published]
    found = [listing for listing in found if len(listing.clips)]
    if 2 * sum(len(listing.clips) for listing in found) < len(files):
        return None
    merged = merge_listings(found)
    clips, copies = merged.clips, set(merged.paths("copy"))
    left_out = [(path, "copy") for path in sorted(copies)]
    # What one rule does not know may be a clip by another.
    known = copies.union(clips["path"])
    left_out += [(str(path), "unparsed") for path in files if str(path) not in known]
    rows = _read_folders(root, [Path(path) for path in clips["path"]], "any")
    if "split" in rows[0]:
        clips = clips.assign(split=[row["split"] for row in rows])
    return Listing(clips, make_listing([], left_out).left_out)


def _read_folders(root: Path, files: list[Path], pattern: str) -> list[dict[str, str]]:
    """What the folders of each file say of it; without a ``pattern`` one must be the emotion."""
    inside = [tuple(map(normalize, path.relative_to(root).parts[:-1])) for path in files]
    depth = max(map(len, inside))
    n_shared = min(len(os.path.commonprefix(inside)), max(depth - 1, 0))
    # What all clips share tells nothing, unless it is the only emotion or gender.
    while n_shared and (_find(inside[0][n_shared - 1]) or find_facts(inside[0][n_shared - 1])):
        n_shared -= 1
    padded = [(*parts, *[""] * (depth - len(parts))) for parts in inside]
    levels: list[_Level] = list(zip(*padded, strict=True))[n_shared:]

    nothing = ("",) * len(files)
    side = next(filter(_are_sides, levels), nothing)
    facts = [names for names in levels if _are_facts(names)]
    free = [names for names in levels if names is not side and names not in facts]
    has_test = "test" in map(read_side, side)
    if side is not nothing and not has_test:
        _LOG.warning("%s: no folder for the test, so the validation folder is taken for it", root)
    emotion = max(free, key=_count_words, default=nothing)
    if free and _count_words(emotion) < _SHARE * len(files) and not pattern:
        emotion = _assume_emotion(root, files, free)
    speaker = _find_speaker(free, emotion)
    beside = defaultdict(set)  # emotions beside each further word of their folder's name
    for word, rest in filter(None, map(_find, emotion)):
        beside[rest].add(word)
    # spk1_happy, spk1_sad: but 1_happy, 2_sad are only counted
    has_speaker_beside = max(map(len, beside.values()), default=0) > 1

    rows = []
    for place in range(len(files)):
        word, rest = _find(emotion[place]) or (emotion[place], "")
        row = {"emotion": read_emotion(word), "speaker": "", **find_facts(rest)}
        if speaker:
            row["speaker"] = speaker[place]
        elif has_speaker_beside and not find_facts(rest):
            row["speaker"] = rest
        for names in facts:
            row |= find_facts(names[place])
        if side is not nothing:
            said = read_side(side[place]) or ""  # files beside the sides are on none of them
            row["split"] = "test" if said == "validation" and not has_test else said
        rows.append(row)
    return rows


_find = functools.lru_cache(10_000)(find_emotion)


def _count_words(names: _Level) -> int:
    return sum(map(bool, map(_find, names)))


def _are_sides(names: _Level) -> bool:
    """Whether the folders of a level are sides, of which at least two are there."""
    sides = [read_side(name) for name in names]
    known = set(sides) - {None}
    return len(known) > 1 and "train" in known and sum(map(bool, sides)) >= 0.8 * len(names)


def _are_facts(names: _Level) -> bool:
    # "male" says something of the speaker, "male_happy" is an emotion.
    return all(find_facts(name) and not _find(name) for name in set(names) - {""})


def _assume_emotion(root: Path, files: list[Path], free: list[_Level]) -> _Level:
    """The level of the emotions where none of the words is known; says what was assumed."""
    if _are_labelled(files):
        raise UserError(_say_unlabelled(root, files, ""))
    others = [names for names in free if not _are_people(names)]
    chosen = (others or free)[0]
    if len(free) > 1 or not others:
        _LOG.warning(
            "%s: took the folders %s for emotions, though no such words are known here. If they "
            "are not, say where the labels are, as in --pattern '{speaker}/{emotion}/{}'",
            root,
            name_few(sorted(set(chosen) - {""})),
        )
    return chosen


def _are_people(names: _Level) -> bool:
    return all(_A_PERSON.fullmatch(name.casefold()) for name in set(names) - {""})


def _find_speaker(free: list[_Level], emotion: _Level) -> _Level | None:
    """The level of the speakers: numbered people, else right below the emotion, else the top."""
    others = [names for names in free if names is not emotion]
    people = [names for names in others if _are_people(names)]
    if len(people) == 1:
        return people[0]
    below = free[free.index(emotion) + 1 :] if others else []
    return next(iter([*below, *others]), None)


def _compile_pattern(pattern: str) -> Callable[[Path], dict[str, str] | None]:
    """Function that reads the labels off a path without suffix, None where it does not fit."""
    if not pattern:
        return lambda path: {}
    names = re.findall(r"\{(\w+)\}", pattern)
    if not names or len(set(names)) < len(names) or not set(names) <= set(_FIELDS):
        raise UserError(
            f"pattern {pattern!r}: expected fields such as {{speaker}}_{{emotion}}_{{}}, each "
            f"once, of {', '.join(_FIELDS)}, and {{}} for any text"
        )
    expression = re.escape(normalize(pattern)).replace(r"\{\}", "[^/]*?")
    expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", expression)
    compiled = re.compile(expression, re.DOTALL)

    def read(path: Path) -> dict[str, str] | None:
        text = path.as_posix() if "/" in pattern else path.name
        match = compiled.fullmatch(normalize(text))
        words = match.groupdict() if match else {}
        return {name: read_field(name, word) for name, word in words.items()} or None

    return read


def _are_labelled(files: list[Path]) -> bool:
    """Whether most of the names hold one word for an emotion."""
    return 2 * sum(bool(find_emotion(path.stem)) for path in files) >= len(files)


def _say_empty(root: Path, others: list[Path]) -> str:
    return (
        f"{root}: expected one folder per emotion with audio files in it, such as "
        f"{root.name}/happy/clip.wav; found no audio files, but "
        f"{name_few(path.name for path in others) or 'nothing'}"
    )


def _say_unlabelled(root: Path, files: list[Path], pattern: str) -> str:
    name = files[0].relative_to(root)
    if pattern:
        return (
            f"{root}: pattern {pattern!r} gives none of the {len(files)} audio files an emotion, "
            f"e.g. {name}. It is compared with the name without suffix, or with the path below the "
            "folder when it has a /"
        )
    in_names = "Their names seem to say it: tell where, as in --pattern '{speaker}_{emotion}_{}'"
    how = in_names if _are_labelled(files) else "Sort them into folders"
    return (
        f"{root}: expected one folder per emotion, such as {root.name}/happy/clip.wav; found "
        f"{len(files)} audio files without one, e.g. {name}. {how}, or list them in a CSV with the "
        "columns path,emotion"
    )
