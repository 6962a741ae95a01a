"""Rows of numbers on the disk, kept by the hash of what each was computed from.

Rows are written one by one, so that whatever was done survives a kill, and read as one table,
which is mapped and not loaded. Deleting any of it costs only time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.runs import atomic_write

_TABLES_KEPT = 4  # a table repeats its rows: those not used for the longest time go
_BLOCK = 1024  # rows; all of a table at once may be too much


@dataclass(frozen=True)
class RowStore:
    """Rows of one shape under one folder.

    Attributes
    ----------
    folder : Path
        Made at the first write.
    shape : tuple of int
        Of a row.
    dtype : str
        A floating-point type.

    Examples
    --------
    >>> import tempfile
    >>> store = RowStore(Path(tempfile.mkdtemp()), (2,), "float32")
    >>> store.write("ab12", np.array([1.0, 2.0]))
    >>> store.save_table(["ab12", "ab12"])
    memmap([[1., 2.],
            [1., 2.]], dtype=float32)
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str

    def row_path(self, key: str) -> Path:
        """Where the row of ``key`` is kept."""
        return self.folder / key[:2] / f"{key}.npy"

    def read(self, key: str) -> np.ndarray | None:
        """Return a row; None if it is not there yet, or damaged."""
        return self._map(self.row_path(key), self.shape)

    def write(self, key: str, row: np.ndarray) -> None:
        """Keep a row; who writes it at the same time writes the same."""
        with atomic_write(self.row_path(key)) as temporary:
            np.save(temporary, np.asarray(row, dtype=self.dtype))

    def load_table(self, keys: Sequence[str]) -> np.ndarray | None:
        """Map a table that :meth:`save_table` wrote; None if there is none, or a damaged one."""
        path = self._table_path(keys)
        table = self._map(path, (len(keys), *self.shape))
        if table is not None:
            with suppress(OSError):  # a cache that may only be read
                os.utime(path)
        return table

    def save_table(self, keys: Sequence[str]) -> np.ndarray:
        """Write the rows of ``keys``, in order, as one file and map it.

        Returns
        -------
        np.memmap, shape (len(keys), *shape), read-only

        Raises
        ------
        KeyError
            A row is not there.
        """
        path, shape = self._table_path(keys), (len(keys), *self.shape)
        if not keys:
            return np.zeros(shape, self.dtype)  # nothing cannot be mapped
        header = {"descr": np.dtype(self.dtype).str, "fortran_order": False, "shape": shape}
        # Written, not mapped: what is written through a map counts as memory of this process.
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for key in keys:
                row = self.read(key)
                if row is None:
                    raise KeyError(key)
                file.write(row.tobytes())
        for old in sorted(path.parent.glob("*.npy"), key=_used_at, reverse=True)[_TABLES_KEPT:]:
            with suppress(OSError):  # in use, on Windows
                old.unlink()
        return np.lib.format.open_memmap(path, mode="r")

    def _table_path(self, keys: Sequence[str]) -> Path:
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        return self.folder / "tables" / f"{name}.npy"

    def _map(self, path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
        try:
            # Mapped: a damaged header that claims too much is an error, not memory.
            found = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, TypeError):
            return None
        if found.shape != shape or found.dtype != self.dtype:
            return None
        count = max(1, found.size // max(1, len(found))) * _BLOCK
        with open(path, "rb") as file:
            file.seek(found.offset)
            while len(block := np.fromfile(file, found.dtype, count)):
                if not np.isfinite(block).all():
                    return None
        return found


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0
