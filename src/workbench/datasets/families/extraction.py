"""Structured extraction: facts in a short text, to be given back as one JSON object."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from random import Random

from workbench.datasets.families.problem import PEOPLE, Problem, Template

_Value = str | int | float


def order(rng: Random, level: int) -> Problem:
    """An order by e-mail; with a price and a date; with a correction in its postscript."""
    who, item = (
        rng.choice(PEOPLE),
        rng.choice(("desk lamps", "oak stools", "wool rugs", "brass hooks", "tea trays")),
    )
    number, amount = rng.randint(10234, 98765), rng.randint(2, 40)
    opening = rng.choice(("Hello,", "Dear team,", "Good morning,"))
    facts: dict[str, _Value] = {"order": number, "item": item, "quantity": amount}
    text = (
        f"{opening} this is about order no. {number}. I ordered {amount} {item} and would like them "
        "gift-wrapped."
    )
    if level >= 2:
        price, due = rng.randint(20, 900), _day(rng)
        facts |= {"total_usd": price, "delivery_date": due.isoformat()}
        text += f" The total was ${price}, and the delivery is promised for {_spoken(due)}."
    if level == 3:
        more, old = amount + rng.randint(1, 9), rng.randint(10234, 98765)
        facts["quantity"] = more
        text += (
            f" PS: please make it {more} instead of {amount}; the price stays the same. My last order, no. "
            f"{old}, was fine."
        )
    return _asked(rng, f"{text} Thanks, {who}", facts | {"customer": who})


def meeting(rng: Random, level: int) -> Problem:
    """An invitation; with a place and a length; moved to another time at the end."""
    host, guest = rng.sample(PEOPLE, 2)
    day, hour = _day(rng), rng.randint(8, 16)
    topic = rng.choice(("the budget", "the website", "the new lab", "hiring", "the annual report"))
    facts: dict[str, _Value] = {"host": host, "date": day.isoformat(), "start_time": f"{hour:02d}:30"}
    text = (
        f"{host} invites {guest} to talk about {topic} on {_spoken(day)}, starting at half past "
        f"{_spoken_hour(hour)}."
    )
    if level >= 2:
        room, minutes = f"{rng.choice('ABCD')}{rng.randint(101, 420)}", 15 * rng.randint(2, 7)
        facts |= {"room": room, "minutes": minutes}
        text += f" It is in room {room} and should take {minutes} minutes."
    if level == 3:
        later, pages = rng.randint(1, 6), rng.randint(3, 60)
        facts["date"] = (day + timedelta(later)).isoformat()
        text += (
            f" {guest} should read the {pages} pages sent round last week. Update: the meeting is put off by "
            f"{later} day{'s' if later > 1 else ''}; time and room do not change."
        )
    return _asked(rng, text, facts)


def server_log(rng: Random, level: int) -> Problem:
    """One line of a server's log; among others; the slowest among several."""
    day = _day(rng)
    lines = [_log_entry(rng, day, minute) for minute in rng.sample(range(60), 2 * level - 1)]
    if level == 1:
        which, chosen = "this request", lines[0]
    elif level == 2:
        which, chosen = f"the request to {lines[1]['path']}", lines[1]
        lines = [line for line in lines if line is chosen or line["path"] != chosen["path"]]
    else:
        which, chosen = "the slowest request", max(lines, key=lambda line: int(line["duration_ms"]))
        lines = [line for line in lines if line is chosen or line["duration_ms"] != chosen["duration_ms"]]
    text = "\n".join(
        f"{line['date']} {line['time']} {line['method']} {line['path']} -> {line['status']} in "
        f"{line['duration_ms']} ms"
        for line in lines
    )
    keys = (
        ("method", "path", "status")
        if level == 1
        else ("date", "time", "method", "path", "status", "duration_ms")
    )
    return _asked(rng, text, {key: chosen[key] for key in keys}, about=which)


def flat(rng: Random, level: int) -> Problem:
    """An advertisement for a flat; with its charges; beside a second flat that is not the one asked for."""
    street = rng.choice(("Mill Lane", "Harbour Street", "Linden Road", "Station Square", "Abbey Walk"))
    rooms, area, rent = rng.randint(1, 6), rng.randint(28, 140), 10 * rng.randint(55, 280)
    facts: dict[str, _Value] = {"street": street, "rooms": rooms, "rent_usd": rent}
    text = f"To let: {rooms}-room flat in {street}, {area} square metres, {rent} dollars a month."
    if level >= 2:
        months, charges = rng.randint(2, 4), 5 * rng.randint(8, 50)
        facts |= {"area_m2": area, "charges_usd": charges, "deposit_usd": months * rent}
        text += (
            f" Charges of {charges} dollars come on top. The deposit is {months} times the rent without "
            "charges."
        )
    if level == 3:
        moving, floor = _day(rng), rng.randint(1, 9)
        facts |= {"available_from": moving.isoformat(), "floor": floor}
        text += (
            f" It is on floor {floor}, and free from {_spoken(moving)}. Also to let, on floor {floor + 1}: a "
            "studio of "
            f"{area // 2 + 5} square metres for {rent - 130} dollars."
        )
    return _asked(rng, text, facts, about="the first flat" if level == 3 else "the flat")


def introduction(rng: Random, level: int) -> Problem:
    """A person introduced; with an address and an age; with a former job beside the present one."""
    who, manager = rng.sample(PEOPLE, 2)
    job, former = rng.sample(("nurse", "surveyor", "baker", "translator", "plumber", "botanist", "pilot"), 2)
    city, old_city = rng.sample(("Lisbon", "Nairobi", "Osaka", "Lima", "Oslo", "Perth", "Quito", "Dakar"), 2)
    facts: dict[str, _Value] = {"name": who, "job": job, "city": city}
    now = rng.choice((f"{who} works as a {job} in {city}.", f"Meet {who}, a {job} from {city}."))
    text = now
    if level >= 2:
        year, age, extension = rng.randint(2015, 2026), rng.randint(21, 64), rng.randint(200, 999)
        facts |= {"birth_year": year - age, "extension": extension}
        text += (
            f" At the start of {year}, on the first of January, {who} turned {age}. The extension is "
            f"{extension}."
        )
    if level == 3:
        hourly = rng.randint(72, 260)
        facts |= {"hourly_usd": hourly / 4, "manager": manager}
        text = (
            f"Before, {who} was a {former} in {old_city}, under extension {rng.randint(1000, 1999)}. That is "
            f"over. {text}"
        )
        text += f" {manager}, the manager, pays {_quarters(hourly)} dollars an hour."
    return _asked(rng, text, facts)


TEMPLATES: tuple[Template, ...] = (order, meeting, server_log, flat, introduction)


def _asked(rng: Random, text: str, facts: Mapping[str, _Value], *, about: str = "") -> Problem:
    keys = list(facts)
    rng.shuffle(keys)
    subject = f" about {about}" if about else ""
    request = rng.choice(
        (
            f"Extract the facts{subject} from the text below as one JSON object with the keys "
            f"{', '.join(keys)}.",
            f"Read the text and fill in a JSON object{subject} with exactly these keys: {', '.join(keys)}.",
        )
    )
    rules = "Write dates as YYYY-MM-DD, times as HH:MM (24 hours), and amounts as numbers without a unit."
    reference = json.dumps({key: facts[key] for key in keys})
    return Problem(f"{request} {rules}\n\n{text}", reference, "<JSON object on one line>")


def _log_entry(rng: Random, day: date, minute: int) -> dict[str, _Value]:
    return {
        "date": day.isoformat(),
        "time": f"{rng.randint(0, 23):02d}:{minute:02d}",
        "method": rng.choice(("GET", "POST", "PUT", "DELETE")),
        "path": f"/{rng.choice(('users', 'orders', 'files', 'invoices'))}/{rng.randint(10, 999)}",
        "status": rng.choice((200, 201, 204, 301, 400, 404, 409, 500, 503)),
        "duration_ms": rng.randint(3, 4800),
    }


def _day(rng: Random) -> date:
    return date(2026, 1, 1) + timedelta(rng.randrange(700))


def _spoken(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"


def _spoken_hour(hour: int) -> str:
    return f"{hour} in the morning" if hour < 12 else f"{hour - 12 or 12} in the afternoon"


def _quarters(quarters: int) -> str:
    whole, part = divmod(quarters, 4)
    return f"{whole}{('', '.25', '.50', '.75')[part]}"
