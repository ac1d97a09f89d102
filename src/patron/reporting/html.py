"""A page in one HTML file: what was found first, then figures, which are in the file itself, and tables."""

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from patron.files import write_text


@dataclass(frozen=True, eq=False)
class Section:
    """A title, and below it a figure, a table of printed cells with its index in front, those that `bold` says in bold,
    and paragraphs."""

    title: str
    figure: Figure | None = None
    table: pd.DataFrame | None = None
    bold: pd.DataFrame | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Page:
    """`lead` is what was found, in a sentence; `small` is the small print at the end."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    small: tuple[str, ...]

    @property
    def html(self) -> str:
        """The whole file; it loads nothing from anywhere, and any text in it is only text."""
        loader = jinja2.FileSystemLoader(Path(__file__).parent)
        environment = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        return environment.get_template("page.html").render(page=self, embedded=embedded)

    def write(self, path: Path) -> Path:
        """Write the file, complete or not at all; returns the path."""
        write_text(path, self.html)
        return path


def embedded(figure: Figure) -> str:
    """The figure as a PNG in an address of its own. The same figure gives the same address."""
    png = BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode('ascii')}"
