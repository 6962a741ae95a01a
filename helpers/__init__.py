"""Plumbing for seven notebooks that walk from recordings to an honest emotion estimate.

The modules are ordered as the data flows, and each imports only from those before it:
``corpora``, ``audio``, ``features``, ``augment``, ``splits``, ``models``, ``training``,
``evaluation``, ``prediction``, ``live``. ``parallel``, ``rowstore``, ``plots`` and ``runs`` serve
all of them.
"""
