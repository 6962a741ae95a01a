"""``ser live``: what the microphone hears, as bars and a timeline in a terminal."""

from __future__ import annotations

from helpers.app.live import Live, say
from helpers.report.plots import emotion_colors
from helpers.sound.microphone import Microphone, peak_dbfs

_BETWEEN_S = 0.15  # estimates


def watch(talk: Live, microphone: Microphone, *, seconds: float) -> None:
    """Let ``talk`` hear ``microphone`` and draw each estimate, for some seconds or until Ctrl+C."""
    from rich.live import Live as Screen

    estimated_s, peak = 0.0, 0.0
    with Screen(auto_refresh=False) as screen:
        try:
            while talk.heard_s < seconds:
                block = microphone.read()
                talk.hear(block)
                if talk.heard_s - estimated_s < _BETWEEN_S:
                    continue
                estimated_s, peak = talk.heard_s, peak_dbfs(block)
                talk.estimate()
                screen.update(draw(talk, peak), refresh=True)
        except KeyboardInterrupt:
            pass


def draw(talk: Live, peak: float):
    """Headline, a bar for each emotion, and a letter for each estimate that fits into a line."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    colors = emotion_colors(talk.predictor.classes)
    now = talk.rows[-1]
    bars = Table.grid(padding=(0, 1))
    for name, color in colors.items():
        p = 0.0 if now["reason"] else now[name]
        bar = ProgressBar(total=1, completed=p, width=40, complete_style=color)
        bars.add_row(name, bar, f"{p:4.0%}")
    strip = Text(no_wrap=True)
    for row in talk.rows[-72:]:
        strip.append("█" if row["emotion"] else "·", style=colors.get(row["emotion"], ""))
    head = Text(f"{say(now)}   ({talk.heard_s:.0f} s, {peak:.0f} dBFS)", style="bold")
    return Group(head, bars, strip)
