"""A folder of one's own: which level of it is the emotion, which the speaker, which the side.

Folders mean different things to different people. So the names decide, not the depth: a level whose
names are words for emotions is the emotion, one of ``train``, ``val`` and ``test`` is the side, and
files that are named by the rule of a published corpus are that corpus, wherever they lie. What
cannot be told is said, together with what was assumed.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from helpers.corpora.corpus import Corpus
from helpers.corpora.labels import (
    Reading,
    find_emotion,
    find_facts,
    normalize,
    read_emotion,
    read_gender,
    read_side,
)
from helpers.corpora.manifest import name_list
from helpers.corpora.table import (
    Listing,
    find_files,
    list_by_file_name,
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


def load_folders(
    root: str | Path, published: Iterable[Corpus] = (), reading: Reading | None = None
) -> Listing:
    """List the clips below a folder by the names of its folders, or of its files.

    Parameters
    ----------
    root : path
    published : iterable of Corpus
        Corpora whose naming rules are tried first. Where most of the files follow one, they are
        clips of that corpus.
    reading : Reading, optional
        ``pattern`` is read here.

    Returns
    -------
    Listing
        The clips have a column ``split`` where a level of the folders says the sides. Audio files
        that have no label are left out as ``unparsed``, all others as ``other``.

    Raises
    ------
    UserError
        No audio file, none that has a label, or a pattern that fits none of the files.
    """
    root = Path(os.path.abspath(root))
    pattern = reading.pattern if reading else ""
    files, others = find_files(root)
    left_out = [(str(path), "other") for path in others]
    if not files:
        raise UserError(_say_empty(root, left_out))
    recognised = None if pattern else _list_published(root, files, published)
    if recognised is not None:
        return merge_listings([recognised, make_listing([], left_out)])
    read_name = _compile_pattern(pattern)
    tree = _read_tree(root, files, has_pattern=bool(pattern))
    rows = []
    for path in files:
        named = read_name(path, root)
        row = None if named is None else tree.read(path) | named
        if row is None or not row["emotion"] or not row.get("split", "train"):
            left_out.append((str(path), "unparsed"))
        else:
            rows.append({"path": str(path), **row})
    if not rows:
        raise UserError(_say_unlabelled(root, files, pattern))
    return name_own(name_list(root), rows, left_out)


def _list_published(root: Path, files: list[Path], published: Iterable[Corpus]) -> Listing | None:
    """Clips of published corpora, where at least half of the files are named by their rules."""
    found = [
        list_by_file_name(files, corpus=corpus.name, parse=corpus.parse, named=corpus.named)
        for corpus in published
        if corpus.parse
    ]
    if 2 * sum(len(listing.clips) for listing in found) < len(files):
        return None
    merged = merge_listings(listing for listing in found if len(listing.clips))
    clips, copies = merged.clips, set(merged.paths("copy"))
    left_out = [(path, "copy") for path in sorted(copies)]
    # What one rule does not know may be a clip by another.
    known = copies.union(clips["path"])
    left_out += [(str(path), "unparsed") for path in files if str(path) not in known]
    tree = _read_tree(root, [Path(path) for path in clips["path"]], has_pattern=True)
    if tree.side is not None:
        clips = clips.assign(split=[tree.read(Path(path))["split"] for path in clips["path"]])
    return Listing(clips, make_listing([], left_out).left_out)


@dataclass(frozen=True)
class _Tree:
    """What each level of the folders means; level 0 is the first that tells clips apart."""

    folders: dict[Path, tuple[str, ...]]
    emotion: int | None
    speaker: int | None
    facts: list[int]  # levels of genders or intensities
    side: int | None
    has_test: bool
    has_speaker_beside: bool  # spk1_happy, spk1_sad: but 1_happy, 2_sad are only counted

    def read(self, path: Path) -> dict[str, str]:
        """Labels of a clip; what its folders do not say is empty."""
        folders = self.folders[path]

        def name(level: int | None) -> str:
            return folders[level] if level is not None and level < len(folders) else ""

        word = name(self.emotion)
        emotion, beside = find_emotion(word) or (word, "")
        facts = find_facts(beside)
        speaker = name(self.speaker)
        if self.speaker is None and self.has_speaker_beside and not facts:
            speaker = beside
        for level in self.facts:
            facts |= find_facts(name(level))
        row = {"emotion": read_emotion(emotion), "speaker": speaker, **facts}
        if self.side is not None:
            side = read_side(name(self.side))
            row["split"] = "test" if side == "validation" and not self.has_test else side or ""
            if side is None:
                row["emotion"] = ""  # beside the sides, not on one of them
        return row


def _read_tree(root: Path, files: list[Path], *, has_pattern: bool) -> _Tree:
    inside = [tuple(map(normalize, path.relative_to(root).parts[:-1])) for path in files]
    n_shared = len(os.path.commonprefix(inside))
    n_shared = max(min(n_shared, max(map(len, inside)) - 1), 0)
    shared = inside[0][:n_shared]
    # What all clips share tells nothing, unless it is the only emotion or gender.
    while shared and (find_emotion(shared[-1]) or find_facts(shared[-1])):
        shared = shared[:-1]
    folders = [parts[len(shared) :] for parts in inside]
    depth = max(map(len, folders))
    levels = [[parts[level] for parts in folders if level < len(parts)] for level in range(depth)]
    free = list(range(depth))

    side = next((level for level in free if _are_sides(levels[level], len(files))), None)
    has_test = side is not None and "test" in map(read_side, levels[side])
    if side is not None and not has_test:
        _LOG.warning("%s: no folder for the test, so the validation side is taken for it", root)
    free = [level for level in free if level != side]
    words = [sum(map(bool, map(find_emotion, names))) / len(files) for names in levels]
    facts = [level for level in free if _are_facts(levels[level])]
    free = [level for level in free if level not in facts]
    emotion = max(free, key=lambda level: words[level], default=None)
    if emotion is not None and words[emotion] < _SHARE and not has_pattern:
        emotion = _assume_emotion(root, files, levels, free)
    free = [level for level in free if level != emotion]
    names = [] if emotion is None else levels[emotion]
    beside = defaultdict(set)  # emotions beside each further word of their folder's name
    for word, rest in filter(None, map(find_emotion, names)):
        beside[rest].add(word)
    return _Tree(
        folders=dict(zip(files, folders, strict=True)),
        emotion=emotion,
        speaker=_find_speaker(levels, free, emotion),
        facts=facts,
        side=side,
        has_test=has_test,
        has_speaker_beside=max(map(len, beside.values()), default=0) > 1,
    )


def _are_sides(names: list[str], n_clips: int) -> bool:
    """Whether the folders of a level are sides, of which at least two are there."""
    sides = [read_side(name) for name in names]
    known = set(sides) - {None}
    return len(known) > 1 and "train" in known and sum(map(bool, sides)) >= 0.8 * n_clips


def _are_facts(names: list[str]) -> bool:
    # "male" says something of the speaker, "male_happy" is an emotion.
    return bool(names) and all(find_facts(name) and not find_emotion(name) for name in names)


def _assume_emotion(root: Path, files: list[Path], levels: list[list[str]], free: list[int]) -> int:
    """The level of the emotions where none of the words is known; says what was assumed."""
    if suggest_pattern([path.stem for path in files]):
        raise UserError(_say_unlabelled(root, files, ""))
    others = [level for level in free if not _are_people(levels[level])]
    chosen = (others or free)[0]
    if len(free) > 1 or not others:
        names = sorted(set(levels[chosen]))
        _LOG.warning(
            "%s: took the folders %s for emotions, though no such words are known here. If they "
            "are not, say where the labels are, as in --pattern '{speaker}/{emotion}/{}'",
            root,
            name_few(names),
        )
    return chosen


def _are_people(names: list[str]) -> bool:
    return all(_A_PERSON.fullmatch(name.casefold()) for name in names)


def _find_speaker(levels: list[list[str]], free: list[int], emotion: int | None) -> int | None:
    """The level of the speakers: numbered people, else right below the emotion, else the top."""
    if emotion is None or not free:
        return None
    people = [level for level in free if _are_people(levels[level])]
    below = [level for level in free if level > emotion]
    for candidates in (people if len(people) == 1 else [], below, free):
        if candidates:
            return candidates[0]
    return None


def _compile_pattern(pattern: str) -> Callable[[Path, Path], dict[str, str] | None]:
    """Function that reads the labels off a file's name, None where it does not fit."""
    if not pattern:
        return lambda path, root: {}
    parts = re.split(r"\{(\w*)\}", pattern)
    names = parts[1::2]
    unknown = [name for name in names if name and name not in _FIELDS]
    twice = [name for name, n in Counter(filter(None, names)).items() if n > 1]
    if unknown or twice or not any(names):
        raise UserError(
            f"pattern {pattern!r}: expected fields such as {{speaker}}_{{emotion}}_{{}}, each "
            f"once, of {', '.join(_FIELDS)}, and {{}} for any text"
        )
    expression = ""
    for place, part in enumerate(parts):
        inside = f"(?P<{part}>[^/]+?)" if part else "[^/]*?"
        expression += inside if place % 2 else re.escape(normalize(part))
    compiled = re.compile(expression, re.DOTALL)

    def read(path: Path, root: Path) -> dict[str, str] | None:
        inside = path.relative_to(root).with_suffix("")
        text = inside.as_posix() if "/" in pattern else inside.name
        match = compiled.fullmatch(normalize(text))
        if match is None:
            return None
        row = match.groupdict()
        if "emotion" in row:
            row["emotion"] = read_emotion(row["emotion"])
        if "gender" in row:
            row["gender"] = read_gender(row["gender"])
        if "split" in row:
            row["split"] = read_side(row["split"]) or ""
        return row

    return read


def suggest_pattern(names: list[str]) -> str:
    """Pattern that finds the emotion in most of the names, empty if there is none.

    Examples
    --------
    >>> suggest_pattern(["kid3_sad_02", "kid4_angry_01"])
    '{speaker}_{emotion}_{}'
    """
    places = Counter()
    for name in names:
        parts = re.split(r"([_\W]+)", name)
        hits = [place for place in range(0, len(parts), 2) if find_emotion(parts[place])]
        if len(hits) == 1:
            separators = tuple(parts[1::2])
            places[(hits[0], separators)] += 1
    if not places or places.most_common(1)[0][1] < 0.5 * len(names):
        return ""
    hit, separators = places.most_common(1)[0][0]
    fields = ["{emotion}" if 2 * place == hit else "{}" for place in range(len(separators) + 1)]
    if hit:
        fields[0] = "{speaker}"
    return "".join(a + b for a, b in zip(fields, (*separators, ""), strict=True))


def _say_empty(root: Path, others: list[tuple[str, str]]) -> str:
    suffixes = Counter(Path(path).suffix.lower() or "no suffix" for path, _ in others)
    found = ", ".join(f"{n} × {suffix}" for suffix, n in suffixes.most_common(4)) or "no files"
    return (
        f"{root}: expected one folder per emotion with audio files in it, such as "
        f"{root.name}/happy/clip.wav; found no audio files ({found})"
    )


def _say_unlabelled(root: Path, files: list[Path], pattern: str) -> str:
    name = files[0].relative_to(root)
    if pattern:
        return (
            f"{root}: pattern {pattern!r} gives none of the {len(files)} audio files an emotion, "
            f"e.g. {name}. It is compared with the name without suffix, or with the path below the "
            "folder when it has a /"
        )
    suggested = suggest_pattern([path.stem for path in files])
    how = f"Try --pattern '{suggested}'" if suggested else "Sort them into folders"
    return (
        f"{root}: expected one folder per emotion, such as {root.name}/happy/clip.wav; found "
        f"{len(files)} audio files without one, e.g. {name}. {how}, or list them in a CSV with the "
        "columns path,emotion"
    )
