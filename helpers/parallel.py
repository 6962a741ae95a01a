"""One function over many clips: a process a core, a bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import joblib
from tqdm import tqdm

#: Environment of processes that decode or train. glibc gives every large block that is freed back
#: to the system and asks for it again: a third of the training time, a fifth of the decoding.
#: Other C libraries ignore these.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
_SERIAL_CLIPS = 64  # starting processes takes longer than reading so few


def map_clips(function: Callable, clips: Iterable, *, n_jobs: int = -1, label: str) -> Iterator:
    """Yield ``function(clip)`` for each clip, in order, as soon as it is there.

    Parameters
    ----------
    function : callable
        Defined in a module, so that another process can find it.
    clips : iterable
        Usually paths.
    n_jobs : int
        Processes, -1 for one a core; few clips need none.
    label : str
        Of the bar, which is drawn on a terminal only: in an executed notebook it would freeze.

    Examples
    --------
    >>> list(map_clips(len, ["a.wav", "anger.wav"], label="Counting"))
    [5, 9]
    """
    clips = list(clips)
    parallel = joblib.Parallel(
        n_jobs=n_jobs if len(clips) > _SERIAL_CLIPS else 1, return_as="generator"
    )
    found = parallel(joblib.delayed(function)(clip) for clip in clips)
    yield from tqdm(found, total=len(clips), desc=label, unit="clip", disable=None)
