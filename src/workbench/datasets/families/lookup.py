"""Table look-up: one cell, a filter, an extreme, a total by group, and two tables joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from workbench.datasets.families.problem import PEOPLE, Problem, Template


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a table is about: the names of its rows, a group column and two columns of whole numbers."""

    title: str
    row: str
    names: tuple[str, ...]
    group: str
    groups: tuple[str, ...]
    first: str
    second: str
    first_range: range
    second_range: range


_SUBJECTS = (
    _Subject(
        "Stock of a hardware shop", "product",
        ("hammer", "pliers", "chisel", "spanner", "drill", "sander", "level", "vise", "clamp", "handsaw"),
        "aisle", ("A1", "B2", "C3"), "price (USD)", "in stock", range(6, 140), range(3, 95),
    ),
    _Subject(
        "Trains of one morning", "train",
        ("IC 204", "RE 31", "IC 87", "EX 512", "RE 77", "EX 640", "IC 19", "RE 8", "EX 33", "IC 450"),
        "platform", ("north", "south", "west"), "passengers", "delay (min)", range(40, 480), range(55),
    ),
    _Subject(
        "Towns of a province", "town",
        ("Alder", "Brook", "Corin", "Dunmore", "Eastby", "Farrow", "Glenn", "Harrow", "Iverley", "Kestrel"),
        "district", ("Coast", "Hills", "Plain"), "population (thousands)", "altitude (m)", range(2, 310),
        range(4, 990),
    ),
    _Subject(
        "A week at a library", "section",
        ("Poetry", "History", "Travel", "Music", "Law", "Maps", "Science", "Crime", "Drama", "Nature"),
        "floor", ("ground", "upper", "attic"), "loans", "returns", range(10, 260), range(10, 260),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Table:
    subject: _Subject
    names: tuple[str, ...]
    groups: tuple[str, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def text(self) -> str:
        header = (self.subject.row, self.subject.group, self.subject.first, self.subject.second)
        rows = zip(self.names, self.groups, map(str, self.first), map(str, self.second), strict=True)
        return f"{self.subject.title}:\n\n{_rendered(header, list(rows))}\n\n"


def cell(rng: Random, level: int) -> Problem:
    """A value by its row; a difference between rows; a row found by a value, then compared."""
    table = _drawn(rng, level)
    subject, (i, j) = table.subject, rng.sample(range(len(table.names)), 2)
    if level == 1:
        column, values = rng.choice(((subject.first, table.first), (subject.second, table.second)))
        question = f"What is the value of '{column}' for the {subject.row} {table.names[i]}?"
        return Problem(table.text + question, str(values[i]))
    if level == 2:
        i, j = (i, j) if table.first[i] > table.first[j] else (j, i)
        question = (
            f"By how much is '{subject.first}' larger for the {subject.row} {table.names[i]} than for "
            f"{table.names[j]}?"
        )
        return Problem(table.text + question, str(table.first[i] - table.first[j]))
    question = (
        f"Find the {subject.row} with {table.second[i]} in the column '{subject.second}', and the "
        f"{subject.row} with {table.second[j]} there. What do their values of '{subject.first}' add up to?"
    )
    return Problem(table.text + question, str(table.first[i] + table.first[j]))


def filtering(rng: Random, level: int) -> Problem:
    """How many rows meet one condition; two conditions; the names of those that do."""
    table = _drawn(rng, level)
    subject, group = table.subject, rng.choice(table.groups)
    if level == 1:
        question = f"How many rows have {group} in the column '{subject.group}'?"
        return Problem(table.text + question, str(table.groups.count(group)))
    limit = sorted(table.first)[len(table.first) // 2] - 1
    if level == 2:
        found = sum(g == group and value > limit for g, value in zip(table.groups, table.first, strict=True))
        question = (
            f"How many rows have {group} in the column '{subject.group}' and more than {limit} in the column "
            f"'{subject.first}'?"
        )
        return Problem(table.text + question, str(found))
    chosen = table.groups[table.first.index(max(table.first))]
    names = [
        name
        for name, g, value in zip(table.names, table.groups, table.first, strict=True)
        if g == chosen and value > limit
    ]
    question = (
        f"Which entries of the column '{subject.row}' have {chosen} in the column '{subject.group}' and more "
        "than "
        f"{limit} in the column '{subject.first}'? List them in alphabetical order."
    )
    return Problem(table.text + question, ", ".join(sorted(names)), "<entries separated by commas>")


def extreme(rng: Random, level: int) -> Problem:
    """The row with the largest value; within a group; the second largest sum of two columns."""
    table = _drawn(rng, level)
    subject, form = table.subject, f"<{table.subject.row}>"
    if level == 1:
        word, pick = rng.choice((("highest", max), ("lowest", min)))
        question = f"Which {subject.row} has the {word} value in the column '{subject.first}'?"
        return Problem(table.text + question, table.names[table.first.index(pick(table.first))], form)
    if level == 2:
        group = rng.choice(table.groups)
        rows = [row for row, g in enumerate(table.groups) if g == group]
        best = min(rows, key=lambda row: table.second[row])
        question = (
            f"Among the rows with {group} in the column '{subject.group}', which {subject.row} has the "
            "lowest value in "
            f"the column '{subject.second}'?"
        )
        return Problem(table.text + question, table.names[best], form)
    gaps = [abs(a - b) for a, b in zip(table.first, table.second, strict=True)]
    if len(set(gaps)) < len(gaps):
        return extreme(rng, level)
    second = sorted(range(len(gaps)), key=lambda row: gaps[row])[-2]
    question = (
        f"For each row, take the difference between '{subject.first}' and '{subject.second}', ignoring its "
        "sign. Which "
        f"{subject.row} has the second largest difference?"
    )
    return Problem(table.text + question, table.names[second], form)


def grouped(rng: Random, level: int) -> Problem:
    """A column's total; a group's total; the gap between the totals of two groups, under a condition."""
    table = _drawn(rng, level)
    subject = table.subject
    if level == 1:
        question = f"What is the sum of the column '{subject.second}'?"
        return Problem(table.text + question, str(sum(table.second)))
    totals: dict[str, int] = {}
    limit = min(table.second) if level == 3 else -1
    for group, amount, other in zip(table.groups, table.first, table.second, strict=True):
        totals[group] = totals.get(group, 0) + amount * (other > limit)
    if level == 2:
        group = rng.choice(sorted(totals))
        question = (
            f"What is the sum of '{subject.first}' over the rows with {group} in the column "
            f"'{subject.group}'?"
        )
        return Problem(table.text + question, str(totals[group]))
    question = (
        f"Leave out the row with the lowest value of '{subject.second}'. Then add up '{subject.first}' for "
        "each "
        f"{subject.group} that is still in the table. What is the largest of these sums minus the smallest?"
    )
    kept = {g for g, other in zip(table.groups, table.second, strict=True) if other > limit}
    sums = [totals[group] for group in sorted(kept)]
    return Problem(table.text + question, str(max(sums) - min(sums)))


def joining(rng: Random, level: int) -> Problem:
    """A look-up through a second table; a count through it; the person behind the largest total."""
    table = _drawn(rng, level)
    subject, groups = table.subject, sorted(set(table.groups))
    leads = dict(zip(groups, rng.sample(PEOPLE, len(groups)), strict=True))
    second = f"Who looks after what:\n\n{_rendered((subject.group, 'contact'), list(leads.items()))}\n\n"
    row = rng.randrange(len(table.names))
    if level == 1:
        question = f"Who is the contact for the {subject.row} {table.names[row]}?"
        return Problem(table.text + second + question, leads[table.groups[row]], "<name>")
    if level == 2:
        who = leads[table.groups[row]]
        values = [v for g, v in zip(table.groups, table.first, strict=True) if leads[g] == who]
        question = f"What is the highest value of '{subject.first}' among the rows whose contact is {who}?"
        return Problem(table.text + second + question, str(max(values)))
    totals = {g: sum(v for h, v in zip(table.groups, table.second, strict=True) if h == g) for g in groups}
    if len(set(totals.values())) < len(totals):
        return joining(rng, level)
    question = f"Whose rows have the largest total of '{subject.second}'? Answer with the contact's name."
    best = max(groups, key=lambda group: totals[group])
    return Problem(table.text + second + question, leads[best], "<name>")


TEMPLATES: tuple[Template, ...] = (cell, filtering, extreme, grouped, joining)


def _drawn(rng: Random, level: int) -> _Table:
    """A table of 4, 7 or 9 rows in which no number occurs twice in a column."""
    subject, n = rng.choice(_SUBJECTS), {1: 4, 2: 7, 3: 9}[level]
    groups = [*subject.groups, *(rng.choice(subject.groups) for _ in range(n - len(subject.groups)))]
    rng.shuffle(groups)
    return _Table(
        subject,
        names=tuple(rng.sample(subject.names, n)),
        groups=tuple(groups),
        first=tuple(rng.sample(subject.first_range, n)),
        second=tuple(rng.sample(subject.second_range, n)),
    )


def _rendered(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
