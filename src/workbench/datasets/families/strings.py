"""Strings and lists: reversing, sorting, counting, editing and encoding them."""

from collections.abc import Sequence
from random import Random

from workbench.datasets.families.problem import Problem, Template

_WORDS = (
    "amber", "anchor", "basket", "beacon", "bridge", "button", "candle", "canyon", "carpet", "cobalt",
    "copper",
    "cradle", "desert", "drift", "ember", "engine", "fabric", "falcon", "fern", "garden", "glacier", "hammer",
    "harbor", "ivory", "jacket", "kettle", "ladder", "lantern", "maple", "marble", "meadow", "mirror",
    "nectar",
    "needle", "oasis", "orbit", "orchid", "pebble", "pepper", "pillow", "planet", "quartz", "ribbon", "river",
    "saddle", "silver", "spruce", "stone", "temple", "timber", "tulip", "tunnel", "velvet", "violin",
    "walnut",
    "willow", "window", "zephyr",
)  # fmt: skip
_LIST = "<items separated by commas>"
_WORD = "<word>"


def reversal(rng: Random, level: int) -> Problem:
    """A word backwards; each word of a phrase; the words in the other order, every second one backwards."""
    if level == 1:
        word = rng.choice(_WORDS)
        return Problem(f"Write the word '{word}' backwards.", word[::-1], _WORD)
    words = rng.sample(_WORDS, 2 + level)
    shown = " ".join(words)
    if level == 2:
        question = f"Reverse the letters of each word in '{shown}', keeping the words in their order."
        return Problem(question, " ".join(word[::-1] for word in words), "<words>")
    turned = [word[::-1] if place % 2 else word for place, word in enumerate(reversed(words), start=1)]
    question = (
        f"Take the phrase '{shown}'. First put its words in the opposite order. Then, in that new order, "
        "reverse the "
        "letters of the first, third and fifth word and leave the others as they are. What is the phrase now?"
    )
    return Problem(question, " ".join(turned), "<words>")


def sorting(rng: Random, level: int) -> Problem:
    """Alphabetical order; by length and then alphabet; by the last letter, without repeats."""
    words = rng.sample(_WORDS, 3 + 2 * level)
    if level == 1:
        return Problem(
            f"Sort these words alphabetically: {', '.join(words)}.", ", ".join(sorted(words)), _LIST
        )
    if level == 2:
        question = (
            "Sort these words from shortest to longest, and words of the same length alphabetically: "
            f"{', '.join(words)}."
        )
        return Problem(question, ", ".join(sorted(words, key=lambda word: (len(word), word))), _LIST)
    repeated = words + rng.sample(words, 2)
    rng.shuffle(repeated)
    question = (
        "Remove repeated words from this list, then sort what is left by the last letter of each word, and "
        "words with "
        f"the same last letter alphabetically: {', '.join(repeated)}."
    )
    return Problem(question, ", ".join(sorted(words, key=lambda word: (word[-1], word))), _LIST)


def counting(rng: Random, level: int) -> Problem:
    """One letter in a phrase; vowels in a phrase; the words that meet two conditions."""
    words = rng.sample(_WORDS, 2 + 2 * level)
    phrase = " ".join(words)
    if level == 1:
        letter = rng.choice([letter for letter in phrase if letter != " "])
        question = f"How many times does the letter '{letter}' occur in '{phrase}'?"
        return Problem(question, str(phrase.count(letter)))
    if level == 2:
        question = f"Counting only a, e, i, o and u as vowels, how many vowels are in '{phrase}'?"
        return Problem(question, str(sum(letter in "aeiou" for letter in phrase)))
    letter, length = rng.choice("aeiorn"), rng.randint(5, 6)
    found = sum(letter in word and len(word) >= length for word in words)
    question = (
        f"How many words of '{phrase}' both contain the letter '{letter}' and have at least {length} letters?"
    )
    return Problem(question, str(found))


def editing(rng: Random, level: int) -> Problem:
    """An item by its place from the end; a removal and a reversal; a chain of edits."""
    words = rng.sample(_WORDS, 4 + level)
    shown = ", ".join(words)
    if level == 1:
        place = rng.randint(2, 4)
        ordinal = {2: "second", 3: "third", 4: "fourth"}[place]
        return Problem(
            f"What is the {ordinal} item from the end of this list: {shown}?", words[-place], _WORD
        )
    gone = rng.choice(words)
    kept = [word for word in words if word != gone]
    if level == 2:
        question = (
            f"Start with the list {shown}. Remove '{gone}', then reverse the order of the list. What is the "
            "list?"
        )
        return Problem(question, ", ".join(kept[::-1]), _LIST)
    turns, added = rng.randint(2, 4), rng.choice([word for word in _WORDS if word not in words])
    edited = [added, *kept[turns:], *kept[:turns]]
    edited[1], edited[-1] = edited[-1], edited[1]
    question = (
        f"Start with the list {shown}. Remove '{gone}'. Then move the first item to the end, and do that "
        f"{turns} times "
        f"in all. Then put '{added}' at the front. Last, swap the second item with the last one. What is the "
        "list?"
    )
    return Problem(question, ", ".join(edited), _LIST)


def shifting(rng: Random, level: int) -> Problem:
    """A letter shift by one; by several places, backwards; by the place of each letter."""
    word = rng.choice([word for word in _WORDS if len(word) <= 4 + level])
    around = "after z comes a again"
    if level == 1:
        question = f"Replace every letter of '{word}' with the next letter of the alphabet ({around})."
        return Problem(question, _shifted(word, [1] * len(word)), "<letters>")
    places = rng.randint(2, 7)
    if level == 2:
        coded = _shifted(word, [places] * len(word))
        question = (
            f"A word was encoded by moving every letter {places} places forward in the alphabet ({around}), "
            "which gave "
            f"'{coded}'. What is the word?"
        )
        return Problem(question, word, _WORD)
    steps = [place if place % 2 else -places for place in range(1, len(word) + 1)]
    question = (
        f"Encode '{word}' letter by letter. A letter in an odd position (first, third, ...) moves forward in "
        "the alphabet "
        f"by its position: 1, 3 and so on. A letter in an even position moves back by {places}. The alphabet "
        "is a circle: "
        f"{around}, and before a comes z. What is the result?"
    )
    return Problem(question, _shifted(word, steps), "<letters>")


def numbers(rng: Random, level: int) -> Problem:
    """A range; a median; the second largest of what a filter leaves."""
    divisor = rng.choice((3, 4, 5))
    kept = rng.sample([value for value in range(3, 99) if value % divisor], 2 + level)
    values = kept + rng.sample(range(divisor, 99, divisor), 1 + level)
    rng.shuffle(values)
    shown = ", ".join(map(str, values))
    if level == 1:
        question = f"What is the largest number minus the smallest number in this list: {shown}?"
        return Problem(question, str(max(values) - min(values)))
    if level == 2:
        return Problem(
            f"What is the median of these numbers: {shown}?", str(sorted(values)[len(values) // 2])
        )
    question = (
        f"From the list {shown}, remove every multiple of {divisor}. Add the largest and the second largest "
        "of the numbers "
        "that remain, then subtract the smallest of them. What is the result?"
    )
    return Problem(question, str(sum(sorted(kept)[-2:]) - min(kept)))


TEMPLATES: tuple[Template, ...] = (reversal, sorting, counting, editing, shifting, numbers)


def _shifted(word: str, steps: Sequence[int]) -> str:
    return "".join(chr((ord(letter) - 97 + step) % 26 + 97) for letter, step in zip(word, steps, strict=True))
