"""The embedded references, worked out a second time from the text of the prompts alone."""

import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

from workbench.datasets import tasks

Solver = Callable[[re.Match[str]], str]


def money(text: str) -> Decimal:
    return Decimal(text.replace("$", ""))


def day(text: str) -> pd.Timestamp:
    return pd.to_datetime(text, format="%d %B %Y")


def shopping(m: re.Match[str]) -> str:
    total = int(m["n"]) * money(m["p"]) + int(m["m"]) * money(m["q"])
    total = total * (100 - int(m["off"] or 0)) / 100
    return str(money(m["note"]) - total + money(m["voucher"]) if m["note"] else total)


def working_days(m: re.Match[str]) -> str:
    start = np.datetime64(day(m["start"]), "D")
    return str(np.busday_offset(start, int(m["days"]), roll="backward"))


def other_day(m: re.Match[str]) -> str:
    sign = 1 if m["way"] == "after" else -1
    return str((day(m["start"]) + sign * pd.Timedelta(days=int(m["days"]))).date())


def month_meeting(m: re.Match[str]) -> str:
    nth = {"second": 1, "third": 2, "fourth": 3}[m["nth"]]
    month = pd.date_range(day("1 " + m["month"]), periods=31)
    held = [date for date in month if date.day_name() == m["weekday"]][nth]
    return str((held - pd.Timedelta(days=int(m["days"]))).date())


def landing(m: re.Match[str]) -> str:
    hours, minutes = (re.findall(rf"(\d+) {unit}", m["flight"]) or ["0"] for unit in ("hour", "minute"))
    shift = int(m["shift"]) * (1 if m["way"] == "ahead of" else -1)
    total = int(m["late"]) + 60 * (int(hours[0]) + shift) + int(minutes[0])
    return (datetime.strptime(m["at"], "%H:%M") + pd.Timedelta(minutes=total)).strftime("%H:%M")  # noqa: DTZ007


def decoded(m: re.Match[str]) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    k = int(m["k"])
    return m["code"].translate(str.maketrans(alphabet[k:] + alphabet[:k], alphabet))


def by_last_letter(m: re.Match[str]) -> str:
    frame = pd.DataFrame({"word": m["words"].split(", ")}).drop_duplicates()
    return ", ".join(frame.assign(last=frame["word"].str[-1]).sort_values(["last", "word"])["word"])


def remaining(m: re.Match[str]) -> str:
    kept = np.array([int(n) for n in m["list"].split(", ") if int(n) % int(m["d"])])
    return str(np.sort(kept)[-2:].sum() - kept.min())


def people(text: str) -> list[str]:
    return re.findall(r"[A-Z][a-z]+", text)


def line_of_people(m: re.Match[str]) -> str:
    names, fitting = people(m["names"]), []
    for order in permutations(names):
        at = {name: place for place, name in enumerate(order)}
        holds = True
        for clue in re.findall(r"[^.]+\.", m["clues"]):
            a, *rest = people(clue)
            b = rest[0] if rest else a
            rules = {
                "somewhere before": at[a] < at[b],
                "directly after": at[a] - at[b] == 1,
                "neither first": 0 < at[a] < len(names) - 1,
                "not next": abs(at[a] - at[b]) > 1,
            }
            holds &= next(value for words, value in rules.items() if words in clue)
        fitting += [order] * holds
    assert len(fitting) == 1, m.group()
    return str(fitting[0][["first", "second", "third", "fourth", "fifth"].index(m["place"])])


def favourites(m: re.Match[str]) -> str:
    names, things, fitting = people(m["names"]), m["things"].split(", "), []
    for owned in permutations(things):
        has = dict(zip(names, owned, strict=True))
        clues = re.findall(r"(\w+) (did not choose|chose) (\w+)(?: or (\w+))?\.", m["clues"])
        fits = all((has[who] in (one, other)) == (verb == "chose") for who, verb, one, other in clues)
        fitting += [has] * fits
    assert len(fitting) == 1, m.group()
    return fitting[0][m["who"]]


def knights(m: re.Match[str]) -> str:
    said = re.findall(r'(\w+) says: "([^"]+)"', m["said"])
    fitting = []
    for values in product((True, False), repeat=len(said)):
        knight = dict(zip((name for name, _ in said), values, strict=True))
        fitting += [knight] * all(spoken(text, who, knight) == knight[who] for who, text in said)
    assert len(fitting) == 1, m.group()
    return ", ".join(sorted(name for name, honest in fitting[0].items() if honest)) or "none"


def spoken(text: str, who: str, knight: dict[str, bool]) -> bool:
    mentioned = [
        who if word in ("I", "me") else word for word in re.findall(r"\b(?:I|me|[A-Z][a-z]+)\b", text)
    ]
    a, *rest = [name for name in mentioned if name in knight]
    if "At least one" in text:
        return not (knight[a] and knight[rest[0]])
    if "same kind" in text:
        return knight[a] == knight[rest[0]]
    if " or " in text:
        return knight[a] or not knight[rest[0]]
    return knight[a] == ("a knight" in text)


def meeting_day(m: re.Match[str]) -> str:
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    fitting = []
    for order in permutations(re.findall(r"[a-z]+", m["names"].replace(" and ", " "))):
        on = dict(zip(order, days, strict=False))
        holds = True
        for a, relation, rest in re.findall(
            r"The (\w+) meeting is (.+?) ((?:the \w+ meeting|on \w+)\.)", m["clues"]
        ):
            b = rest.split()[1].rstrip(".")
            gap = days.index(on.get(b, "Monday")) - days.index(on[a])
            rules = {"not": on[a] != b, "the day before": gap == 1, "earlier in the week than": gap > 0}
            holds &= rules[relation]
        fitting += [on] * holds
    assert len(fitting) == 1, m.group()
    return fitting[0][m["asked"]]


def saved(m: re.Match[str]) -> str:
    every = {"second": 2, "third": 3, "fourth": 4, "fifth": 5}[m["every"]]
    has = int(m["start"])
    for week in range(1, int(m["weeks"]) + 1):
        has += int(m["weekly"]) - (int(m["spent"]) if week % every == 0 else 0)
    return str(has)


def filled(m: re.Match[str]) -> str:
    litres = minute = 0
    while litres < int(m["holds"]):
        litres += int(m["flow"]) - (int(m["leak"]) if minute >= int(m["from"]) else 0)
        minute += 1
    return str(minute)


def edited(m: re.Match[str]) -> str:
    words = m["words"].split(", ")
    words.remove(m["gone"])
    for _ in range(int(m["times"])):
        words.append(words.pop(0))
    words.insert(0, m["added"])
    second, last = words[1], words[-1]
    return ", ".join([words[0], last, *words[2:-1], second])


def true_statements(m: re.Match[str]) -> str:
    truth = {letter: value == "true" for letter, value in re.findall(r"([PQRS]) is (true|false)", m["given"])}
    n_true = 0
    for line in re.findall(r"^\d\. (.+)$", m["lines"], re.MULTILINE):
        inner = re.sub(r"if ([PQRS]) then ([PQRS])", r"(not \1 or \2)", line)
        n_true += bool(eval(re.sub(r"if \((.+)\) then ([PQRS])", r"(not (\1) or \2)", inner), {}, truth))
    return str(n_true)


def table(text: str) -> pd.DataFrame:
    lines = [line.strip("| ") for line in text.strip().splitlines() if "---" not in line]
    return pd.read_csv(
        io.StringIO("\n".join(re.sub(r" \| ", ";", line) for line in lines)), sep=";", dtype={0: str}
    )


def group_gap(m: re.Match[str]) -> str:
    frame = table(m["table"])
    frame = frame.drop(frame[m["low"]].idxmin())
    sums = frame.groupby(frame.columns[1])[m["sum"]].sum()
    return str(sums.max() - sums.min())


def second_gap(m: re.Match[str]) -> str:
    frame = table(m["table"])
    gaps = (frame[m["a"]] - frame[m["b"]]).abs()
    return str(frame.iloc[gaps.sort_values().index[-2], 0])


def group_lowest(m: re.Match[str]) -> str:
    frame = table(m["table"])
    rows = frame[frame[m["col"]] == m["group"]]
    return str(rows.loc[rows[m["low"]].idxmin()].iloc[0])


def contact_total(m: re.Match[str]) -> str:
    frame, leads = table(m["table"]), table(m["leads"])
    merged = frame.merge(leads, on=frame.columns[1])
    return str(merged.groupby("contact")[m["sum"]].sum().idxmax())


def slowest(m: re.Match[str]) -> str:
    lines = re.findall(r"(\S+) (\S+) (\S+) (\S+) -> (\d+) in (\d+) ms", m["log"])
    date, time, method, path, status, ms = max(lines, key=lambda line: int(line[-1]))
    found = {
        "date": date,
        "time": time,
        "method": method,
        "path": path,
        "status": int(status),
        "duration_ms": int(ms),
    }
    return json.dumps({key: found[key] for key in m["keys"].split(", ")})


SOLVERS: dict[str, tuple[str, Solver]] = {
    "shopping": (
        r"buys (?P<n>\d+) \w+ at (?P<p>\$[\d.]+) each and (?P<m>\d+) \w+ at (?P<q>\$[\d.]+) each\."
        r"(?: The shop takes (?P<off>\d+)% off)?"
        r"(?:.*takes a further (?P<voucher>\$[\d.]+) off.*a (?P<note>\$\d+) note)?",
        shopping,
    ),
    "working days": (
        r"comes in on (?P<start>[\w ]+), a \w+, .* exactly (?P<days>\d+) working days",
        working_days,
    ),
    "other day": (r"Which date is (?P<days>\d+) days (?P<way>after|before) (?P<start>[\w ]+)\?", other_day),
    "month meeting": (
        r"meets on the (?P<nth>\w+) (?P<weekday>\w+) of every.* (?P<days>\d+) days before "
        r"the meeting of (?P<month>\w+ \d+)",
        month_meeting,
    ),
    "landing": (
        r"leave at (?P<at>[\d:]+) \w+ time but leaves (?P<late>\d+) minutes late\. It takes "
        r"(?P<flight>[\w ]+)\. .*are (?P<shift>\d+) hours (?P<way>ahead of|behind)",
        landing,
    ),
    "decoded": (r"every letter (?P<k>\d) places forward.* gave '(?P<code>\w+)'", decoded),
    "last letter": (r"the same last letter alphabetically: (?P<words>[\w, ]+)\.", by_last_letter),
    "remaining": (r"From the list (?P<list>[\d, ]+), remove every multiple of (?P<d>\d)", remaining),
    "line of people": (
        r"^(?P<names>[\w, ]+) (?:finished|are standing|presented).*?own\. "
        r"(?P<clues>.*\.) Who is (?P<place>\w+)\?",
        line_of_people,
    ),
    "favourites": (
        r"^(?P<names>[\w, ]+) each have a different favourite \w+: (?P<things>[\w, ]+), in some order\. "
        r"(?P<clues>.*\.) What is (?P<who>\w+)'s",
        favourites,
    ),
    "meeting day": (
        r"one meeting a day: (?P<names>[a-z, ]+)\. (?P<clues>.*\.) "
        r"On which day is the (?P<asked>\w+) meeting",
        meeting_day,
    ),
    "saved": (
        r"has \$(?P<start>\d+) and saves \$(?P<weekly>\d+) .* every (?P<every>\w+) week \w+ also spends "
        r"\$(?P<spent>\d+)\. .* after (?P<weeks>\d+) weeks",
        saved,
    ),
    "filled": (
        r"holds (?P<holds>\d+) litres\. .* in (?P<flow>\d+) litres a minute\. (?P<from>\d+) minutes "
        r"after .* loses (?P<leak>\d+) litres",
        filled,
    ),
    "edited": (
        r"the list (?P<words>[\w, ]+)\. Remove '(?P<gone>\w+)'\. .* do that (?P<times>\d) times .* put "
        r"'(?P<added>\w+)' at",
        edited,
    ),
    "knights": (r"one or the other\. (?P<said>.*\") Who are the knights", knights),
    "true statements": (
        r"^(?P<given>[PQRS] is .*?)\. 'Or'[^\n]*\n(?P<lines>(?:\d\. .*\n)+)How many",
        true_statements,
    ),
    "group gap": (
        r":\n\n(?P<table>\|.*\|)\n\nLeave out.*of '(?P<low>.*?)'\. Then add up '(?P<sum>.*?)'",
        group_gap,
    ),
    "second gap": (
        r":\n\n(?P<table>\|.*\|)\n\nFor each row.*between '(?P<a>.*?)' and '(?P<b>.*?)',",
        second_gap,
    ),
    "group lowest": (
        r":\n\n(?P<table>\|.*\|)\n\nAmong the rows with (?P<group>\w+) in the column '(?P<col>.*?)'"
        r".*the column '(?P<low>.*?)'\?",
        group_lowest,
    ),
    "contact total": (
        r":\n\n(?P<table>\|.*\|)\n\nWho.*?:\n\n(?P<leads>\|.*\|)\n\nWhose rows.*total of '(?P<sum>.*?)'",
        contact_total,
    ),
    "slowest request": (r"slowest request.*?keys:? (?P<keys>[\w, ]+)\. Write.*?\n\n(?P<log>.* ms)", slowest),
}


def solvable(pattern: str) -> Iterator[tuple[re.Match[str], str]]:
    for task in tasks():
        found = re.search(pattern, task.prompt.text, re.DOTALL)
        if found and task.prompt.reference is not None:
            yield found, task.prompt.reference


@pytest.mark.parametrize("name", SOLVERS)
def test_a_second_solution_from_the_text_agrees(name: str) -> None:
    pattern, solve = SOLVERS[name]
    found = list(solvable(pattern))
    assert len(found) >= 5
    for match, reference in found:
        solved = solve(match)
        is_number = re.fullmatch(r"-?[\d.]+", reference)
        assert solved == reference or (is_number and Decimal(solved) == Decimal(reference)), match.string
