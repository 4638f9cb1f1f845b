"""What a report is made of: sections of text and tables, and pictures; each can be shown in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench import plots
from workbench.experiment.wording import printable

_ENVIRONMENT = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=PackageLoader("workbench.report"),
)
_ENVIRONMENT.globals["printable"] = printable


@dataclass(frozen=True, slots=True)
class Section:
    """Text and tables under a heading. `body` is HTML in which every text from outside is escaped."""

    name: str
    title: str
    body: Markup = field(repr=False)

    def _repr_html_(self) -> str:
        return str(rendered("section.html.j2", section=self, style=style()))


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure, and what it shows in words."""

    name: str
    caption: str
    figure: plots.Figure = field(repr=False)

    @property
    def uri(self) -> str:
        """The figure as a `data:` URI."""
        return plots.png_uri(self.figure)

    def _repr_png_(self) -> bytes:
        return plots.png(self.figure)


Part = Section | Picture


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text below a header, and a note below them. `is_text`: words, not numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    is_text: bool = False

    def __html__(self) -> str:
        return rendered("table.html.j2", table=self)


def rendered(template: str, **values: Any) -> Markup:
    """A template of this package, filled in; what is not markup yet is escaped."""
    return Markup(_ENVIRONMENT.get_template(template).render(**values))  # noqa: S704 - autoescaped


def style() -> Markup:
    """The style sheet, which is ours alone."""
    return Markup(files("workbench.report").joinpath("templates/style.css").read_text("utf-8"))  # noqa: S704
