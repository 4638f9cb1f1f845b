"""Dates, clocks and units: converting between them and counting in them."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from random import Random

from workbench.datasets.families.problem import PEOPLE, Problem, Template, decimal

_DAY_FORM = "<day of the week>"
_DATE_FORM = "<YYYY-MM-DD>"
_TIME_FORM = "<HH:MM>"
_CITIES = ("Lisbon", "Nairobi", "Osaka", "Lima", "Oslo", "Perth", "Quito", "Dakar", "Hanoi", "Bogota")


def metric(rng: Random, level: int) -> Problem:
    """One metric unit in another; a sum of mixed units; whole pieces cut from a length."""
    if level == 1:
        big, small, factor = rng.choice(
            (("kilometres", "metres", 1000), ("kilograms", "grams", 1000), ("litres", "millilitres", 1000),
             ("metres", "centimetres", 100), ("tonnes", "kilograms", 1000))
        )  # fmt: skip
        amount = Fraction(rng.randint(11, 980), rng.choice((10, 100)))
        if rng.random() < 0.5:
            return Problem(f"Convert {decimal(amount)} {big} to {small}.", decimal(amount * factor))
        return Problem(f"Convert {decimal(amount * factor)} {small} to {big}.", decimal(amount))
    if level == 2:
        kilos, grams = Fraction(rng.randint(12, 95), 10), 50 * rng.randint(3, 38)
        parcels, tare = rng.randint(2, 6), 10 * rng.randint(4, 30)
        question = (
            f"A crate weighs {decimal(kilos)} kg. It is packed with {parcels} parcels of {grams} g each, and "
            "with "
            f"{tare} g of straw. What is the total weight in kilograms?"
        )
        return Problem(question, decimal(kilos + Fraction(parcels * grams + tare, 1000)))
    metres, piece, waste = Fraction(rng.randint(120, 480), 10), rng.randint(23, 95), rng.randint(2, 9)
    question = (
        f"A cable of {decimal(metres)} m is cut into pieces of {piece} cm. Each cut piece also uses up "
        f"{waste} mm of "
        "cable as waste. When as many whole pieces as possible have been cut, how many millimetres of cable "
        "remain?"
    )
    return Problem(question, str(int(metres * 1000) % (piece * 10 + waste)))


def imperial(rng: Random, level: int) -> Problem:
    """Imperial units by a stated factor; feet and inches; a speed limit and a time."""
    if level == 1:
        unit, other, factor = rng.choice(
            (("inches", "centimetres", Fraction("2.54")), ("miles", "kilometres", Fraction("1.6")),
             ("pounds", "kilograms", Fraction("0.45")), ("gallons", "litres", Fraction("3.8")))
        )  # fmt: skip
        amount = rng.randint(3, 180)
        stated = f"Taking 1 {_singular(unit)} as {decimal(factor)} {other}"
        return Problem(f"{stated}, how many {other} are {amount} {unit}?", decimal(amount * factor))
    if level == 2:
        who, feet, inches = rng.choice(PEOPLE), rng.randint(4, 6), rng.randint(1, 11)
        heel = Fraction(rng.randint(5, 40), 10)
        question = (
            f"{who} is {feet} feet {inches} inches tall and wears shoes that add {decimal(heel)} cm. With 12 "
            "inches "
            "in a foot and 2.54 cm in an inch, how tall is that in centimetres? Give two decimal places."
        )
        return Problem(question, decimal((feet * 12 + inches) * Fraction("2.54") + heel, places=2))
    speed, minutes = 5 * rng.randint(5, 14), 3 * rng.randint(5, 30)
    metres_per_second = rng.randint(4, 11)
    gap = Fraction(speed * minutes, 60) * Fraction("1.6") - Fraction(metres_per_second * minutes * 60, 1000)
    question = (
        f"A car drives at {speed} miles per hour for {minutes} minutes. A cyclist rides at "
        f"{metres_per_second} metres "
        "per second for the same time. Taking 1 mile as 1.6 km, how many more kilometres than the cyclist "
        "does the "
        "car cover? Give two decimal places."
    )
    return Problem(question, decimal(gap, places=2))


def later_date(rng: Random, level: int) -> Problem:
    """The date some days on; across months and leap days; after some working days."""
    start = date(rng.randint(2019, 2029), rng.randint(1, 12), rng.randint(1, 28))
    if level == 1:
        days = rng.randint(5, 27)
        question = (
            f"A parcel is sent on {_spoken(start)} and arrives {days} days later. On what date does it "
            "arrive?"
        )
        return Problem(question, (start + timedelta(days)).isoformat(), _DATE_FORM)
    if level == 2:
        days = rng.randint(60, 400)
        before = rng.random() < 0.5
        moved = start - timedelta(days) if before else start + timedelta(days)
        where = "before" if before else "after"
        return Problem(f"Which date is {days} days {where} {_spoken(start)}?", moved.isoformat(), _DATE_FORM)
    days = rng.randint(8, 30)
    question = (
        f"An office works from Monday to Friday and has no holidays. A request comes in on {_spoken(start)}, "
        "a "
        f"{start:%A}, and is answered exactly {days} working days later, counting from the next working day "
        "as day "
        "1. On what date is it answered?"
    )
    return Problem(question, _after_working_days(start, days).isoformat(), _DATE_FORM)


def weekday(rng: Random, level: int) -> Problem:
    """The weekday some days on; of a date, given another's; the date of a month's n-th weekday."""
    start = date(rng.randint(2019, 2029), rng.randint(1, 12), rng.randint(1, 28))
    if level == 1:
        days = rng.randint(9, 60)
        question = f"Today is {start:%A}. What day of the week will it be in {days} days?"
        return Problem(question, f"{start + timedelta(days):%A}", _DAY_FORM)
    if level == 2:
        other = start + timedelta(rng.choice((-1, 1)) * rng.randint(70, 330))
        question = f"{_spoken(start)} is a {start:%A}. What day of the week is {_spoken(other)}?"
        return Problem(question, f"{other:%A}", _DAY_FORM)
    nth, day = rng.randint(2, 4), rng.randint(0, 6)
    first = start.replace(day=1)
    found = first + timedelta((day - first.weekday()) % 7 + 7 * (nth - 1))
    reminder = found - timedelta(rng.randint(10, 25))
    question = (
        f"A club meets on the {('second', 'third', 'fourth')[nth - 2]} {found:%A} of every month. "
        f"{_spoken(first)} is "
        f"a {first:%A}. A reminder goes out {(found - reminder).days} days before the meeting of "
        f"{first:%B %Y}. On "
        "what date does it go out?"
    )
    return Problem(question, reminder.isoformat(), _DATE_FORM)


def clock(rng: Random, level: int) -> Problem:
    """A clock time after a while; across midnight with breaks; a landing in another time zone."""
    start = datetime(2024, 5, 1, rng.randint(5, 22), 5 * rng.randint(0, 11), tzinfo=UTC)
    if level == 1:
        minutes = 5 * rng.randint(4, 40)
        event = rng.choice(("film", "rehearsal", "workshop", "match", "lecture"))
        question = (
            f"A {event} starts at {start:%H:%M} on the 24-hour clock and lasts {_duration(minutes)}. When "
            "does it end?"
        )
        return Problem(question, f"{start + timedelta(minutes=minutes):%H:%M}", _TIME_FORM)
    if level == 2:
        drive, rest, n = 5 * rng.randint(50, 110), 5 * rng.randint(2, 9), rng.randint(2, 4)
        question = (
            f"{rng.choice(PEOPLE)} sets off at {start:%H:%M} and drives for {_duration(drive)} in all, with "
            f"{n} breaks "
            f"of {rest} minutes on top. At what time on the 24-hour clock is the arrival?"
        )
        return Problem(question, f"{start + timedelta(minutes=drive + n * rest):%H:%M}", _TIME_FORM)
    origin, goal = rng.sample(_CITIES, 2)
    shift, flight, delay = (
        rng.choice((-9, -7, -5, -4, -3, 3, 4, 6, 8, 10)),
        5 * rng.randint(40, 170),
        5 * rng.randint(3, 20),
    )
    landing = start + timedelta(minutes=flight + delay, hours=shift)
    relation = "ahead of" if shift > 0 else "behind"
    question = (
        f"A flight from {origin} to {goal} should leave at {start:%H:%M} {origin} time but leaves {delay} "
        "minutes late. "
        f"It takes {_duration(flight)}. For this puzzle, clocks in {goal} are {abs(shift)} hours {relation} "
        "those in "
        f"{origin}. What time is it in {goal} on the 24-hour clock when it lands?"
    )
    return Problem(question, f"{landing:%H:%M}", _TIME_FORM)


def temperature(rng: Random, level: int) -> Problem:
    """Celsius to Fahrenheit; the other way; a mean of readings on both scales."""
    if level == 1:
        celsius = 5 * rng.randint(-6, 44)
        question = f"With F = 1.8 C + 32, what is {celsius} degrees Celsius in degrees Fahrenheit?"
        return Problem(question, decimal(celsius * Fraction("1.8") + 32))
    if level == 2:
        morning, rise = 5 * rng.randint(-5, 6), rng.randint(3, 14)
        fahrenheit = decimal(Fraction("1.8") * morning + 32)
        question = (
            f"At dawn it was {fahrenheit} degrees Fahrenheit, and by noon it had warmed by {rise} degrees "
            "Celsius. How "
            "many degrees Celsius was it at noon?"
        )
        return Problem(question, str(morning + rise))
    readings = [5 * rng.randint(-3, 12) for _ in range(4)]
    shown = [
        f"{decimal(Fraction('1.8') * value + 32)} F" if place % 2 else f"{value} C"
        for place, value in enumerate(readings)
    ]
    question = (
        f"A station recorded {', '.join(shown[:3])} and {shown[3]} (C is Celsius, F is Fahrenheit). What was "
        "the mean "
        "temperature in degrees Celsius? Give two decimal places."
    )
    return Problem(question, decimal(Fraction(sum(readings), 4), places=2))


TEMPLATES: tuple[Template, ...] = (metric, imperial, later_date, weekday, clock, temperature)


def _singular(unit: str) -> str:
    return "inch" if unit == "inches" else unit.removesuffix("s")


def _spoken(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours} hour{'s' if hours > 1 else ''}"] * bool(hours) + [f"{rest} minutes"] * bool(rest)
    return " ".join(parts)


def _after_working_days(start: date, days: int) -> date:
    day = start
    while days:
        day += timedelta(1)
        days -= day.weekday() < 5
    return day
