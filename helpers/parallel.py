"""One function over many clips: one process per core, a bar on a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import joblib
from tqdm import tqdm

from helpers.errors import UserError

#: Environment of processes that decode or train. glibc gives every large block that is freed back
#: to the system and asks for it again: a third of the training time, a fifth of the decoding.
#: Other C libraries ignore these.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
SCHEDULER = "SER_SCHEDULER"  # environment variable, for this process and those it starts
_CONNECT_S = 10
_SERIAL_CLIPS = 64  # starting processes takes longer than reading these


def map_clips(
    function: Callable,
    clips: Iterable,
    *,
    n_jobs: int = -1,
    label: str,
) -> Iterator:
    """Yield ``function(clip)`` for each clip, in order, as soon as it is there.

    Where the environment variable ``SER_SCHEDULER`` has the address of a Dask scheduler, such as
    ``tcp://10.0.0.1:8786``, its workers take the place of the processes. They need this package,
    and all files under the same paths as here. What a worker had not finished when it died,
    another one does again.

    Parameters
    ----------
    n_jobs : int
        Processes, -1 for one per core; few clips need none.
    label : str
        Of the bar, which is drawn on a terminal only: in an executed notebook it would freeze.

    Raises
    ------
    UserError
        The scheduler cannot be reached, has no workers, or Dask is not installed.

    Examples
    --------
    >>> list(map_clips(len, ["a.wav", "anger.wav"], label="Counting"))
    [5, 9]
    """
    clips = list(clips)
    scheduler = os.environ.get(SCHEDULER, "") if clips else ""
    with _backend(scheduler):
        few = not scheduler and len(clips) <= _SERIAL_CLIPS
        parallel = joblib.Parallel(n_jobs=1 if few else n_jobs, return_as="generator")
        found = parallel(joblib.delayed(function)(clip) for clip in clips)
        yield from tqdm(found, total=len(clips), desc=label, unit="clip", disable=None)


@contextmanager
def _backend(scheduler: str) -> Iterator[None]:
    """Within it, joblib uses the workers of a Dask cluster."""
    if not scheduler:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError('a cluster needs Dask: pip install -e ".[cluster]"') from error
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Dask scheduler at {scheduler!r}: {error}. Expected an address such as "
            "tcp://127.0.0.1:8786, as `dask scheduler` prints it"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no workers: start some with "
                f"`dask worker {scheduler}`"
            )
        with joblib.parallel_config(backend="dask", client=client):
            yield
