"""Names of the columns of every table that the project writes, each once.

Some tables also have one column per emotion, with its probability. So no emotion may be called like
a column: see :data:`RESERVED`.
"""

from __future__ import annotations

#: An utterance table: one row per clip, as :func:`helpers.corpora.load_corpora` returns it.
UTTERANCES = "path corpus speaker gender emotion intensity text channel language duration_s".split()
#: What decoding a clip adds; see :func:`helpers.sound.inspection.inspect_clips`.
MEASURED = "duration_s peak_dbfs rms_dbfs noise_dbfs band_hz sha256".split()
#: Protocols; ``utterances.csv`` has a column for each that was asked for, with the set of a clip.
PROTOCOLS = "speaker-independent random-80-20 own-split".split()
#: Who said what, beside a prediction of a run; the emotion is the true one.
FACTS = "path sha256 corpus speaker gender intensity emotion".split()
#: The same in ``ser cv``, whose predictions are read without an utterance table.
CV_FACTS = [*FACTS[:-1], "text", "emotion"]
#: Predictions of files; one column per emotion comes before ``error``.
PREDICTIONS = "file start_s end_s emotion confidence sure error".split()
#: What a model said of a clip, which model it was, or which part of ``ser cv``.
ANSWERS = "predicted confidence sure protocol model fold seed".split()
#: What a model has to pass, and whether it does.
CHECKS = "test measure found limit passed n".split()
#: Columns that hold text, even where all of it looks like numbers.
TEXT = [*UTTERANCES[:-1], "sha256", "error", "file", "predicted", "split", "shares"]
#: What no emotion may be called, since one table would then have two columns of one name.
RESERVED = {
    *UTTERANCES,
    "split",  # in the table of a manifest that says the sets
    "shares",  # where raters disagreed
    *MEASURED,
    *PROTOCOLS,
    *CV_FACTS,
    *PREDICTIONS,
    *ANSWERS,
}
