"""A page as a browser would read it: tags that fit, tables, words."""

from __future__ import annotations

from html.parser import HTMLParser

#: Markup that would run a script, as a name.
HOSTILE = '"><img src=x onerror=alert(1)></td><script>alert(2)</script>&amp;'
_VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """The tags, the rows of the tables and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def close(self) -> None:
        super().close()
        assert self.open == [], "tags that are not closed"
        # Line breaks of the source are spaces on the page.
        self.text = " ".join(self.text.split())
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def row(self, *start: str) -> list[str]:
        """The one row whose first cells are these."""
        (found,) = [row for row in self.rows if row[: len(start)] == list(start)]
        return found
