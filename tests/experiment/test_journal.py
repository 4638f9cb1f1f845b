"""The journal: what survives a kill, a torn line, a full disk and a changed spec."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import DataError, FingerprintError, ProviderError, ServerError, StorageError
from workbench.experiment.journal import Journal, JournalContent, read_journal, set_damaged_aside
from workbench.experiment.part import Part
from workbench.experiment.stopped import Stopped
from workbench.types import Completion, Outcome, Usage

FINGERPRINT = {"arms": ["a", "b"], "seed": 0}


def outcome(number: int, *, cost_usd: float = 0.25) -> Outcome:
    return Outcome(f"p{number}", "a", "m", "simulator", quality=1.0, cost_usd=cost_usd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with three finished calls."""
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, fingerprint=FINGERPRINT, content=JournalContent()) as journal:
        for number in range(3):
            journal.sent((f"p{number}", "a", 0), bound_usd=0.5)
            journal.finished(outcome(number))
    return path


def test_what_was_written_is_read_back(path: Path) -> None:
    content = read_journal(path)
    assert list(content.outcomes.values()) == [outcome(number) for number in range(3)]
    assert content.spent_usd == pytest.approx(0.75)
    assert content.dropped == ()


def test_a_missing_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none.jsonl").outcomes == {}


def test_a_call_that_never_came_back_counts_as_spent(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.sent(("p3", "a", 0), bound_usd=0.5)
    assert read_journal(path).in_flight_usd == pytest.approx(0.5)
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.sent(("p3", "a", 0), bound_usd=0.5)
        journal.finished(outcome(3))
    assert read_journal(path).spent_usd == pytest.approx(4 * 0.25 + 0.5)


def test_a_call_that_was_refused_before_it_left_costs_nothing(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.sent(("p3", "a", 0), bound_usd=0.5)
        journal.not_sent(("p3", "a", 0))
    assert read_journal(path).in_flight_usd == 0.0


@pytest.mark.parametrize("n_cut", [1, 2, 10, 60])
def test_a_torn_last_line_is_dropped_and_reported_and_the_rest_kept(path: Path, n_cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_cut])
    content = read_journal(path)
    assert len(content.outcomes) == 2
    assert "cut short" in content.dropped[0]


def test_after_a_torn_line_the_next_record_stands_on_a_line_of_its_own(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.finished(outcome(2))
    assert len(read_journal(path).outcomes) == 3
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_repeated_lines_crlf_blank_lines_and_nul_blocks_change_nothing(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\r\n".join([*lines, lines[-1], b"", b"\0" * 512]) + b"\r\n")
    content = read_journal(path)
    assert len(content.outcomes) == 3
    assert content.spent_usd == pytest.approx(0.75)
    assert "NUL" in content.dropped[0]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'{"kind": "other"}',
        b'{"kind": "outcome", "arm": "a"}',
        b'{"kind": "outcome", "prompt_id": "p", "arm": "a", "model": "m", "provider": "s", "cost_usd": NaN}',
        b'{"kind": "outcome", "prompt_id": "p", "arm": "a", "model": "m", "provider": "s", "cost_usd": "1"}',
        b'{"kind": "outcome", "prompt_id": 7, "arm": "a", "model": "m", "provider": "s"}',
        b"\xff\xfe",
        b"[" * 9999,
    ],
    ids=[
        "text",
        "list",
        "unknown-kind",
        "missing-fields",
        "not-a-number",
        "text-for-a-cost",
        "number-for-an-id",
        "not-utf8",
        "deep",
    ],
)
def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_touched(path: Path, line: bytes) -> None:
    lines = path.read_bytes().splitlines()
    damaged = b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"line 3 .*--repair"):
        read_journal(path)
    assert path.read_bytes() == damaged
    assert set_damaged_aside(path) == 1
    assert len(read_journal(path).outcomes) == 3
    assert path.with_suffix(".jsonl.rejected").read_bytes().strip() == line


def test_a_journal_of_another_experiment_is_refused_with_the_difference(path: Path) -> None:
    with pytest.raises(FingerprintError, match=r"seed: was 0, is 7"):
        Journal.open(path, fingerprint=FINGERPRINT | {"seed": 7}, content=read_journal(path))


def test_only_the_owner_may_read_a_journal(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0


@given(place=st.floats(0.0, 1.0), filler=st.sampled_from([b"", b"\0" * 512]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journal_cut_at_any_byte_is_read_and_gone_on_with(path: Path, place: float, filler: bytes) -> None:
    whole = path.read_bytes()
    kept = whole[: round(place * len(whole))]
    cut = path.with_name("cut.jsonl")
    cut.write_bytes(kept + filler)
    content = read_journal(cut)
    n_whole = sum(line.startswith(b'{"kind": "outcome"') for line in kept.split(b"\n")[:-1])
    assert list(content.outcomes.values()) == [outcome(number) for number in range(n_whole)]
    with Journal.open(cut, fingerprint=FINGERPRINT, content=content) as journal:
        for number in range(3):
            journal.finished(outcome(number))
    again = read_journal(cut)
    assert (list(again.outcomes.values()), again.dropped) == ([outcome(number) for number in range(3)], ())


def test_lines_that_stand_twice_are_not_damage(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.sent(("p3", "a", 0), bound_usd=0.5)
        for _ in range(2):
            journal.not_sent(("p3", "a", 0))
    assert read_journal(path).in_flight_usd == 0.0


def test_a_repair_leaves_calls_that_were_taken_back(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.sent(("p3", "a", 0), bound_usd=0.5)
        journal.not_sent(("p3", "a", 0))
    assert set_damaged_aside(path) == 0
    assert read_journal(path).in_flight_usd == 0.0


def test_a_journal_that_is_a_link_is_not_written_elsewhere(path: Path) -> None:
    link = path.with_name("link.jsonl")
    link.symlink_to(path.with_name("elsewhere.jsonl"))
    with pytest.raises(StorageError, match="link"):
        Journal.open(link, fingerprint=FINGERPRINT, content=JournalContent())
    assert not path.with_name("elsewhere.jsonl").exists()


def part_of_a_call(number: int) -> Part:
    usage = Usage(10, 2)
    return Part(
        Completion(f"4{number}", "m", "m-1", "simulator", usage, 0.1, "stop", cost_usd=0.1, attempts=())
    )


def with_parts(path: Path, *, is_counted: bool) -> None:
    """Two members' answers to a prompt, a third's failure, and the outcome of the call, if it is counted."""
    key = ("p9", "vote", 0)
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        for number in range(3):
            journal.part_sent(key, f"m{number}", bound_usd=0.5)
        for number in range(2):
            journal.part_finished(key, f"m{number}", part_of_a_call(number))
        failure = ServerError("simulator", "m", "no")
        failure.cost_usd = 0.0
        journal.part_finished(key, "m2", Part(failure))
        if is_counted:
            journal.finished(Outcome("p9", "vote", "m", "simulator", quality=1.0, cost_usd=0.2))


def test_what_members_answered_is_kept_until_their_call_is_counted(path: Path) -> None:
    before = read_journal(path).spent_usd
    with_parts(path, is_counted=False)
    content = read_journal(path)
    parts = content.parts["p9", "vote", 0]
    assert parts["m1"].completion() == part_of_a_call(1).completion()
    with pytest.raises(ProviderError, match="ServerError"):
        parts["m2"].completion()
    assert content.in_flight_usd == 0.0
    assert content.spent_usd == pytest.approx(before + 0.2)
    with_parts(path, is_counted=True)
    counted = read_journal(path)
    assert counted.parts == {}
    assert counted.spent_usd == pytest.approx(before + 0.2)


def test_a_request_of_a_panel_that_never_came_back_counts_as_spent(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.part_sent(("p9", "vote", 0), "m0", bound_usd=0.5)
        journal.part_sent(("p9", "vote", 0), "m1", bound_usd=0.25)
        journal.part_not_sent(("p9", "vote", 0), "m1")
    assert read_journal(path).in_flight_usd == pytest.approx(0.5)


def test_a_decision_stands_however_often_it_is_there(path: Path) -> None:
    with Journal.open(path, fingerprint=FINGERPRINT, content=read_journal(path)) as journal:
        journal.stopped(Stopped("decided", 3, 4))
        journal.stopped(Stopped("futile", 9, 9))
    assert read_journal(path).stopped == Stopped("decided", 3, 4)


@given(place=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journal_with_parts_cut_at_any_byte_loses_only_its_last_line(path: Path, place: float) -> None:
    whole_path = path.with_name("parts.jsonl")
    whole_path.write_bytes(path.read_bytes())
    with_parts(whole_path, is_counted=False)
    whole = whole_path.read_bytes()
    kept = whole[: round(place * len(whole))]
    cut = path.with_name("cut.jsonl")
    cut.write_bytes(kept)
    n_parts = sum(line.startswith(b'{"kind": "part"') for line in kept.split(b"\n")[:-1])
    assert sum(map(len, read_journal(cut).parts.values())) == n_parts


@pytest.mark.parametrize("line", [b'{"kind": "part", "key": ["p9", "vote", 0]}', b'{"kind": "stopped"}'])
def test_a_damaged_line_of_a_part_or_a_decision_is_named(path: Path, line: bytes) -> None:
    path.write_bytes(path.read_bytes() + line + b"\n" + b"\n")
    with pytest.raises(DataError, match=r"line 8 of .* is damaged"):
        read_journal(path)
