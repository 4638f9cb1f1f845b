"""Arithmetic word problems: buying, travelling, cooking, saving, filling and making things."""

from fractions import Fraction
from math import ceil
from random import Random

from workbench.datasets.families.problem import PEOPLE, Problem, Template, decimal, dollars


def shopping(rng: Random, level: int) -> Problem:
    """What a purchase costs; then with a discount; then with a voucher, and the change from a banknote."""
    who = rng.choice(PEOPLE)
    first, second = rng.sample(("notebooks", "pens", "lamps", "mugs", "candles", "plants", "scarves"), 2)
    n, m = rng.randint(2, 9), rng.randint(2, 9)
    price, other = 20 * rng.randint(8, 50), 20 * rng.randint(8, 50)
    total = n * price + m * other
    bought = f"{who} buys {n} {first} at {dollars(price)} each and {m} {second} at {dollars(other)} each."
    if level == 1:
        return Problem(f"{bought} How many dollars does {who} pay in all?", decimal(Fraction(total, 100)))
    percent = rng.choice((5, 10, 15, 20, 25, 30))
    discounted = total * (100 - percent) // 100
    offer = f"The shop takes {percent}% off the whole bill"
    if level == 2:
        question = f"{bought} {offer}. How many dollars does {who} pay?"
        return Problem(question, decimal(Fraction(discounted, 100)))
    voucher = 50 * rng.randint(2, 6)
    note = next(size for size in (2000, 5000, 10000, 20000) if size > discounted - voucher)
    question = (
        f"{bought} {offer}, and then a voucher takes a further {dollars(voucher)} off. {who} pays with a "
        f"{dollars(note)} note. How many dollars of change does {who} get?"
    )
    return Problem(question, decimal(Fraction(note - discounted + voucher, 100)))


def journey(rng: Random, level: int) -> Problem:
    """How far a vehicle goes; an average over two legs; two vehicles that set off towards each other."""
    vehicle = rng.choice(("cyclist", "bus", "train", "van", "ferry", "lorry"))
    if level == 1:
        speed, hours = 2 * rng.randint(8, 45), Fraction(rng.randint(3, 13), 2)
        question = (
            f"A {vehicle} travels at a steady {speed} km/h for {decimal(hours)} hours. How many kilometres "
            "is that?"
        )
        return Problem(question, decimal(speed * hours))
    if level == 2:
        slow, fast = 10 * rng.randint(2, 5), 10 * rng.randint(6, 11)
        first, second = rng.randint(1, 4), rng.randint(1, 3)
        distance = slow * first + fast * second
        question = (
            f"A {vehicle} covers {slow * first} km at {slow} km/h and then {fast * second} km at {fast} "
            "km/h. What is its "
            "average speed over the whole way in km/h, rounded to one decimal place?"
        )
        return Problem(question, _one_decimal(Fraction(distance, first + second)))
    slow, fast, meeting = 5 * rng.randint(8, 14), 5 * rng.randint(15, 24), rng.randint(2, 6)
    head_start = rng.randint(1, 3)
    distance = slow * head_start + (slow + fast) * meeting
    question = (
        f"Two stations are {distance} km apart. A goods train leaves the first for the second at {slow} "
        "km/h. "
        f"{head_start} hour{'s' if head_start > 1 else ''} later an express leaves the second for the first "
        "at "
        f"{fast} km/h. How many kilometres from the first station do they meet?"
    )
    return Problem(question, str(slow * (head_start + meeting)))


def recipe(rng: Random, level: int) -> Problem:
    """Scaling a recipe; the whole packs it takes; what those cost."""
    dish = rng.choice(("soup", "curry", "pancakes", "risotto", "granola", "lentil stew"))
    ingredient = rng.choice(("flour", "rice", "lentils", "oats", "sugar"))
    serves, grams_each = rng.randint(2, 6), 5 * rng.randint(7, 30)
    guests = serves * rng.randint(2, 6) + rng.randint(1, serves - 1)
    needed = grams_each * guests
    start = f"A recipe for {serves} servings of {dish} takes {serves * grams_each} g of {ingredient}."
    if level == 1:
        return Problem(f"{start} How many grams does it take for {guests} servings?", str(needed))
    pack = rng.choice((250, 400, 500, 750))
    packs = ceil(Fraction(needed, pack))
    if level == 2:
        question = (
            f"{start} {ingredient.capitalize()} is sold in packs of {pack} g. How many packs must be bought "
            "to "
            f"make {guests} servings?"
        )
        return Problem(question, str(packs))
    price, have = 5 * rng.randint(18, 70), 10 * rng.randint(2, 15)
    packs = ceil(Fraction(needed - have, pack))
    every = rng.randint(3, 4)
    question = (
        f"{start} The cook needs {guests} servings and already has {have} g. {ingredient.capitalize()} is "
        "sold "
        f"in packs of {pack} g at {dollars(price)}, and every {_ordinal(every)} pack is free. How many "
        "dollars "
        f"must the cook spend on {ingredient}?"
    )
    return Problem(question, decimal(Fraction((packs - packs // every) * price, 100)))


def savings(rng: Random, level: int) -> Problem:
    """A weekly saving; one with a start and a spending; the week in which one saver passes another."""
    who, other = rng.sample(PEOPLE, 2)
    weekly, weeks, start = rng.randint(6, 45), rng.randint(5, 26), 5 * rng.randint(4, 60)
    if level == 1:
        question = (
            f"{who} has ${start} and saves ${weekly} every week. How many dollars does {who} have after "
            f"{weeks} weeks?"
        )
        return Problem(question, str(start + weekly * weeks))
    if level == 2:
        every = rng.randint(2, 5)
        spent = rng.randint(3, weekly * every - 1)
        question = (
            f"{who} has ${start} and saves ${weekly} at the end of every week. At the end of every "
            f"{_ordinal(every)} week {who} also spends ${spent}. How many dollars does {who} have after "
            f"{weeks} "
            "weeks?"
        )
        return Problem(question, str(start + weekly * weeks - spent * (weeks // every)))
    lead, faster = rng.randint(20, 300), weekly + rng.randint(3, 18)
    question = (
        f"{who} has ${start + lead} and saves ${weekly} at the end of every week. {other} has ${start} and "
        "saves "
        f"${faster} at the end of every week. After how many weeks does {other} for the first time have more "
        f"than {who}?"
    )
    return Problem(question, str(lead // (faster - weekly) + 1))


def tank(rng: Random, level: int) -> Problem:
    """Litres poured in; a tank with a leak; a leak that starts part of the way."""
    place = rng.choice(("water tank", "pool", "cistern", "fish pond", "rain barrel"))
    inflow, minutes = rng.randint(8, 40), rng.randint(12, 90)
    if level == 1:
        question = (
            f"A pump moves {inflow} litres a minute into a {place}. How many litres has it moved after "
            f"{minutes} minutes?"
        )
        return Problem(question, str(inflow * minutes))
    leak = rng.randint(1, inflow - 4)
    if level == 2:
        capacity = (inflow - leak) * minutes
        question = (
            f"An empty {place} holds {capacity} litres. A pump puts in {inflow} litres a minute while a leak "
            "loses "
            f"{leak} litres a minute. After how many minutes is it full?"
        )
        return Problem(question, str(minutes))
    before = rng.randint(5, 30)
    capacity = inflow * before + (inflow - leak) * minutes
    question = (
        f"An empty {place} holds {capacity} litres. A pump puts in {inflow} litres a minute. {before} "
        "minutes after "
        f"the pump starts, a leak opens that loses {leak} litres a minute. How many minutes after the pump's "
        "start "
        "is it full?"
    )
    return Problem(question, str(before + minutes))


def workshop(rng: Random, level: int) -> Problem:
    """What machines make; less the faulty part; the boxes that two shifts fill."""
    item = rng.choice(("bolts", "bottles", "tiles", "circuit boards", "candles", "gears"))
    machines, rate, hours = rng.randint(2, 9), 20 * rng.randint(2, 12), rng.randint(3, 10)
    made = machines * rate * hours
    start = f"A workshop runs {machines} machines for {hours} hours, each making {rate} {item} an hour."
    if level == 1:
        return Problem(f"{start} How many {item} are made?", str(made))
    percent = 5 * rng.randint(1, 5)
    good = made * (100 - percent) // 100
    if level == 2:
        question = f"{start} {percent}% of the {item} are faulty. How many good {item} are made?"
        return Problem(question, str(good))
    box, night = rng.choice((12, 16, 24, 36)), 10 * rng.randint(10, 60)
    question = (
        f"{start} {percent}% of these are faulty and thrown away. The night shift adds {night} {item}, all "
        "of them "
        f"good. The good {item} are packed in boxes of {box}. How many {item} are left over when as many "
        "boxes as "
        "possible have been filled?"
    )
    return Problem(question, str((good + night) % box))


TEMPLATES: tuple[Template, ...] = (shopping, journey, recipe, savings, tank, workshop)


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth", 5: "fifth"}[number]


def _one_decimal(value: Fraction) -> str:
    return decimal(Fraction(round(value * 10), 10), places=1)
