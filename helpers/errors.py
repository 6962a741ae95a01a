"""What a person can put right: every such error is a :class:`UserError`.

The command ``ser`` prints its message and no traceback. All other errors are ours, and keep theirs.
"""

from __future__ import annotations


class UserError(Exception):
    """Something that was asked for, named or given does not fit.

    The message says what was found, what was expected, which file or name it is about, and what to
    do. A subclass exists only where a caller has to tell one kind from another.
    """
