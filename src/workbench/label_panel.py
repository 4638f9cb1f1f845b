"""A panel in a notebook on which a person labels answers, side by side and without knowing whose they are."""

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from workbench.errors import InsufficientDataError, MissingExtraError
from workbench.experiment.labels import Answer, Label, sheet_labels, write_sheet
from workbench.experiment.wording import shortened

try:
    import ipywidgets
    from IPython.display import display
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "the panel of labels") from exc

CHOICES = {"wrong": 0.0, "partly": 0.5, "right": 1.0}
_MOST_CHARACTERS = 8_000


class LabelPanel:
    """One prompt at a time, its answers beside each other in random order, and three buttons below each.

    A label is in the sheet as soon as its button was pressed. A sheet that has labels already is gone on
    with.

        LabelPanel(answers_to_label(table, n=50), "labels.csv", labeller="ann").show()

    Args:
        answers: as `answers_to_label` gives them.
        sheet: the CSV file that is read and written.

    Raises:
        InsufficientDataError: there are no answers.
        DataError: the sheet has something that is no label.
    """

    def __init__(self, answers: Sequence[Answer], sheet: str | Path, *, labeller: str = "") -> None:
        if not answers:
            raise InsufficientDataError("there are no answers to label")
        self._answers = list(answers)
        self._sheet = Path(sheet)
        self._labeller = labeller
        kept = sheet_labels(self._sheet, self._answers)
        self._others = [label for label in kept if label.labeller != labeller]
        self.labels = {label.label_id: label.label for label in kept if label.labeller == labeller}
        pages: dict[str, list[Answer]] = {}
        for answer in self._answers:
            pages.setdefault(answer.prompt_id, []).append(answer)
        self._pages = list(pages.values())
        self._place = self._first_open()
        self._text = ipywidgets.HTML()
        self._row = ipywidgets.HBox()
        self._back = _button("Back", lambda: self._turn(-1))
        self._next = _button("Next", lambda: self._turn(1))
        self.box = ipywidgets.VBox([self._text, self._row, ipywidgets.HBox([self._back, self._next])])
        self._draw()

    def show(self) -> None:
        """Display the panel below the cell that calls this."""
        display(self.box)

    @property
    def page(self) -> list[Answer]:
        """The answers that are shown now."""
        return self._pages[self._place]

    def label(self, answer: Answer, choice: str) -> None:
        """Give `answer` a label, `wrong`, `partly` or `right`, and keep it at once.

        Raises:
            StorageError: the sheet cannot be written; it is as it was before.
        """
        labels = self.labels | {answer.label_id: CHOICES[choice]}
        own = [Label(name, label, self._labeller) for name, label in labels.items()]
        write_sheet(self._sheet, self._answers, [*self._others, *own])
        self.labels = labels
        if all(one.label_id in self.labels for one in self.page) and self._place + 1 < len(self._pages):
            self._place += 1
        self._draw()

    def _turn(self, step: int) -> None:
        self._place = min(max(self._place + step, 0), len(self._pages) - 1)
        self._draw()

    def _first_open(self) -> int:
        """The first page with an answer that has no label; the last where all have one."""
        is_open = [any(one.label_id not in self.labels for one in page) for page in self._pages]
        return is_open.index(True) if True in is_open else len(self._pages) - 1

    def _draw(self) -> None:
        n_labelled = sum(answer.label_id in self.labels for answer in self._answers)
        head = f"{n_labelled} of {len(self._answers)} answers labelled"
        self._text.value = f"<div>{head}</div>{_shown(self.page[0].prompt)}"
        old, self._row.children = self._row.children, tuple(map(self._column, self.page))
        for column in old:
            _close(column)

    def _column(self, answer: Answer) -> "ipywidgets.VBox":
        buttons = []
        for choice, value in CHOICES.items():
            button = _button(choice, partial(self.label, answer, choice))
            button.button_style = "primary" if self.labels.get(answer.label_id) == value else ""
            buttons.append(button)
        width = f"{100 // len(self.page)}%"
        text = ipywidgets.HTML(_shown(answer.response))
        return ipywidgets.VBox([text, ipywidgets.HBox(buttons)], layout=ipywidgets.Layout(width=width))


def _button(text: str, press: Callable[[], object]) -> "ipywidgets.Button":
    button = ipywidgets.Button(description=text, layout=ipywidgets.Layout(width="auto"))
    button.on_click(lambda _button: press())
    return button


def _shown(text: str) -> str:
    """The text as it stands: no element in it is live, and JupyterLab finds no formula."""
    safe = escape(shortened(text, limit=_MOST_CHARACTERS)).replace("$", "<span>$</span>")
    return f'<pre style="white-space: pre-wrap">{safe}</pre>'


def _close(column: "ipywidgets.VBox") -> None:
    for child in column.children:
        if isinstance(child, ipywidgets.HBox):
            _close(child)
        child.close()
    column.close()
