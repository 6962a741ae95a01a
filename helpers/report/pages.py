"""Pages and notices from the templates beside this module; whatever text goes in is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: str, **parts: object) -> str:
    """Fill in a template.

    Parameters
    ----------
    template : str
        Name of a file in ``templates/``.
    **parts
        What the template shows.

    Returns
    -------
    str
        HTML that needs no script and no other style sheet.

    Examples
    --------
    >>> "<img" in render("notice.html", notice="<img src=x>")
    False
    """
    return _TEMPLATES.get_template(template).render(parts)


def _number(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _setting(value: object) -> str:
    """A setting is not rounded away: 0.0015 stays 0.0015."""
    return f"{value:.4g}" if isinstance(value, float) else _number(value)


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(number=_number, setting=_setting)
