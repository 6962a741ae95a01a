"""Plumbing for seven notebooks that walk from recordings to an honest emotion estimate.

The rooms are ordered as the data flows, and each imports only from those before it: ``corpora``,
``sound``, ``features``, ``models``, ``evaluation``, ``experiments``, ``report``, ``app``.
``columns``, ``errors``, ``parallel``, ``parts``, ``runs`` and ``splits`` serve all of them.
"""

__version__ = "0.1.0"
