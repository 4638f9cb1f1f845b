"""Logic puzzles, each with exactly one solution, which a search over all possibilities proves."""

from collections.abc import Callable, Sequence
from itertools import combinations, permutations, product
from random import Random

from workbench.datasets.families.problem import PEOPLE, Problem, Template, listed

_Clue = tuple[str, Callable[[Sequence[str]], bool]]


def queue(rng: Random, level: int) -> Problem:
    """Who stands where in a line of 3, 4 or 5, from clues about order."""
    names = rng.sample(PEOPLE, 2 + level)
    clues = [clue for a, b in permutations(names, 2) for clue in _order_clues(a, b)]
    order, said = _puzzle(rng, names, clues)
    place = rng.randrange(len(names))
    position = ("first", "second", "third", "fourth", "fifth")[place]
    event = rng.choice(("finished a race", "are standing in a queue", "presented one after the other"))
    question = (
        f"{listed(sorted(names))} {event}, each in a place of their own. {' '.join(said)} Who is {position}?"
    )
    return Problem(question, order[place], "<name>")


def matching(rng: Random, level: int) -> Problem:
    """Who has which of 3, 4 or 5 things, from what they have and have not."""
    names = rng.sample(PEOPLE, 2 + level)
    noun, choices = rng.choice(
        (("pet", ("cat", "dog", "parrot", "rabbit", "tortoise")),
         ("drink", ("coffee", "cocoa", "juice", "milk", "tea")),
         ("instrument", ("cello", "drum", "flute", "harp", "piano")),
         ("sport", ("archery", "cricket", "rowing", "squash", "tennis")))
    )  # fmt: skip
    things = choices[: len(names)]
    clues = [clue for place, name in enumerate(names) for clue in _have_clues(place, name, things)]
    owned, said = _puzzle(rng, things, clues)
    who = rng.randrange(len(names))
    question = (
        f"{listed(names)} each have a different favourite {noun}: {', '.join(things)}, in some order. "
        f"{' '.join(said)} "
        f"What is {names[who]}'s favourite {noun}?"
    )
    return Problem(question, owned[who], f"<{noun}>")


def islanders(rng: Random, level: int) -> Problem:
    """Which of 2, 3 or 4 islanders tell the truth, from what each says."""
    names = rng.sample(PEOPLE, 1 + level)
    worlds = list(product((True, False), repeat=len(names)))
    while True:
        claims = [_claim(rng, speaker, names) for speaker in range(len(names))]
        fitting = [
            world
            for world in worlds
            if all(claim(world) == truthful for (_, claim), truthful in zip(claims, world, strict=True))
        ]
        if len(fitting) == 1:
            break
    said = " ".join(f'{name} says: "{text}"' for name, (text, _) in zip(names, claims, strict=True))
    honest = sorted(name for name, truthful in zip(names, fitting[0], strict=True) if truthful)
    question = (
        "On an island, knights always tell the truth and knaves always lie, and everyone is one or the "
        "other. "
        f"{said} Who are the knights? List their names in alphabetical order, or write 'none'."
    )
    return Problem(question, ", ".join(honest) or "none", "<names separated by commas>")


def statements(rng: Random, level: int) -> Problem:
    """How many of some compound statements are true, given the truth of their parts."""
    letters = "PQRS"[: 1 + level]
    truth = {letter: rng.random() < 0.5 for letter in letters}
    drawn: dict[str, bool] = {}
    while len(drawn) < 1 + level:
        text, value = _compound(rng, truth, level)
        drawn[text] = value
    given = listed([f"{letter} is {str(value).lower()}" for letter, value in truth.items()])
    shown = "\n".join(f"{number}. {text}" for number, text in enumerate(drawn, start=1))
    question = (
        f"{given}. 'Or' is inclusive, and 'if X then Y' is false only when X is true and Y is "
        f"false.\n{shown}\n"
        "How many of these statements are true?"
    )
    return Problem(question, str(sum(drawn.values())))


def calendar(rng: Random, level: int) -> Problem:
    """On which day of a week 3, 4 or 5 meetings fall, from clues about before, after and next to."""
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"][: 2 + level]
    meetings = rng.sample(("budget", "design", "hiring", "legal", "planning", "sales", "security"), len(days))
    clues = [clue for a, b in permutations(meetings, 2) for clue in _day_clues(a, b, days)]
    order, said = _puzzle(rng, meetings, clues)
    asked = rng.choice(meetings)
    question = (
        f"From {days[0]} to {days[-1]} there is one meeting a day: {listed(sorted(meetings))}. "
        f"{' '.join(said)} On which "
        f"day is the {asked} meeting?"
    )
    return Problem(question, days[order.index(asked)], "<day of the week>")


TEMPLATES: tuple[Template, ...] = (queue, matching, islanders, statements, calendar)


def _puzzle(rng: Random, items: Sequence[str], clues: Sequence[_Clue]) -> tuple[tuple[str, ...], list[str]]:
    """A random order of `items`, and clues, none of them idle, that together fit this order alone."""
    solution = tuple(rng.sample(items, len(items)))
    true = [clue for clue in clues if clue[1](solution)]
    rng.shuffle(true)
    left, said = list(permutations(items)), []
    for text, holds in true:
        kept = [order for order in left if holds(order)]
        if len(kept) < len(left):
            left = kept
            said.append(text)
    return solution, said


def _order_clues(a: str, b: str) -> list[_Clue]:
    return [
        (f"{a} is somewhere before {b}.", lambda order: order.index(a) < order.index(b)),
        (f"{b} comes directly after {a}.", lambda order: order.index(b) == order.index(a) + 1),
        (f"{a} is neither first nor last.", lambda order: 0 < order.index(a) < len(order) - 1),
        (f"{a} is not next to {b}.", lambda order: abs(order.index(a) - order.index(b)) > 1),
    ]


def _have_clues(place: int, name: str, things: Sequence[str]) -> list[_Clue]:
    refusals = [(f"{name} did not choose {thing}.", _chose(place, set(things) - {thing})) for thing in things]
    pairs = [
        (f"{name} chose {one} or {other}.", _chose(place, {one, other}))
        for one, other in combinations(things, 2)
    ]
    return refusals + pairs


def _chose(place: int, allowed: set[str]) -> Callable[[Sequence[str]], bool]:
    return lambda owned: owned[place] in allowed


def _day_clues(a: str, b: str, days: Sequence[str]) -> list[_Clue]:
    return [
        (
            f"The {a} meeting is earlier in the week than the {b} meeting.",
            lambda order: order.index(a) < order.index(b),
        ),
        (
            f"The {a} meeting is the day before the {b} meeting.",
            lambda order: order.index(a) + 1 == order.index(b),
        ),
        (f"The {a} meeting is not on {days[1]}.", lambda order: order[1] != a),
        (f"The {a} meeting is not on {days[-1]}.", lambda order: order[-1] != a),
    ]


def _claim(rng: Random, speaker: int, names: Sequence[str]) -> tuple[str, Callable[[Sequence[bool]], bool]]:
    other, third = rng.choice([n for n in range(len(names)) if n != speaker]), rng.randrange(len(names))
    while third == other:
        third = rng.randrange(len(names))
    first, second = names[other], names[third] if third != speaker else "I"
    are = "am" if second == "I" else "is"
    claims: list[tuple[str, Callable[[Sequence[bool]], bool]]] = [
        (f"{first} is a knave.", lambda world: not world[other]),
        (f"{first} is a knight.", lambda world: world[other]),
        (
            f"At least one of {listed([first, 'me' if second == 'I' else second])} is a knave.",
            lambda world: not (world[other] and world[third]),
        ),
        (f"{first} is a knight or {second} {are} a knave.", lambda world: world[other] or not world[third]),
        (
            f"{first} and {second} are of the same kind.",
            lambda world: world[other] == world[third],
        ),
    ]
    return rng.choice(claims)


def _compound(rng: Random, truth: dict[str, bool], level: int) -> tuple[str, bool]:
    """A statement about the letters of `truth`, and whether it is true."""
    left, right = rng.sample(sorted(truth), 2)
    text, value = rng.choice(
        (
            (f"{left} and {right}", truth[left] and truth[right]),
            (f"{left} or {right}", truth[left] or truth[right]),
            (f"if {left} then {right}", not truth[left] or truth[right]),
            (f"{left} and not {right}", truth[left] and not truth[right]),
        )
    )
    if level == 1:
        return text, value
    third = rng.choice(sorted(truth))
    return rng.choice(
        (
            (f"not ({text})", not value),
            (f"({text}) or not {third}", value or not truth[third]),
            (f"({text}) and {third}", value and truth[third]),
            (f"if ({text}) then {third}", not value or truth[third]),
        )
    )
