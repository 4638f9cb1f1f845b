"""Server-sent events: exact whatever the cuts, linear in the bytes, capped."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.providers.sse import Event, EventParser, EventTooLongError, LineParser


def parse(*chunks: bytes, cap: int = 2**20) -> list[Event]:
    parser = EventParser(max_event_bytes=cap)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data\n\n", [""]),
        (b": comment\n\n\n\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"id: 1\nretry: 5\nother: x\ndata: a\n\n", ["a"]),
        (b"event: ping\n\ndata: a\n\n", ["a"]),
        (b"data: a\n", []),
        (b"data: a", []),
        ("data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\n".encode(), ["a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"]),
    ],
)
def test_the_standard_is_kept(stream: bytes, data: list[str]) -> None:
    assert [event.data for event in parse(stream)] == data
    assert [event.data for event in parse(*(bytes([byte]) for byte in stream))] == data


def test_an_event_has_its_name_once() -> None:
    assert parse(b"event: error\ndata: a\n\ndata: b\n\n") == [Event("error", "a"), Event("message", "b")]


texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(texts, max_size=6), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_where_the_stream_is_cut_does_not_matter(lines: list[str], end: str, data: st.DataObject) -> None:
    stream = "".join(f"data: {line}{end}{end}" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    chunks = [stream[start:stop] for start, stop in pairwise(bounds)]
    assert [event.data for event in parse(*chunks)] == lines


def test_a_line_over_the_cap_is_stopped() -> None:
    with pytest.raises(EventTooLongError):
        parse(b"data: " + b"a" * 100, cap=100)
    assert len(parse(b"data: " + b"a" * 94 + b"\n\n", cap=100)) == 1


def test_many_short_lines_of_one_event_are_stopped_too() -> None:
    with pytest.raises(EventTooLongError):
        parse(b"data: a\n" * 20, cap=100)
    assert len(parse(b"data: a\n\n" * 20, cap=100)) == 20


def test_a_line_of_16_mib_in_small_pieces_takes_linear_time() -> None:
    started = time.process_time()
    parse(b"data: ", *[b"a" * 2**12] * 2**12, b"\n\n", cap=2**25)
    assert time.process_time() - started < 1.0


@given(st.lists(texts.filter(str.strip), max_size=6), st.booleans(), st.data())
def test_a_stream_of_lines_is_cut_at_its_ends_alone(
    lines: list[str], has_end: bool, data: st.DataObject
) -> None:
    stream = ("\ufeff" + "\n\n".join(lines) + ("\n" if has_end else "")).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = LineParser(max_event_bytes=2**20)
    chunks = [stream[start:stop] for start, stop in pairwise([0, *cuts, len(stream)])]
    events = [*(event for chunk in chunks for event in parser.feed(chunk)), *parser.rest()]
    assert [event.data for event in events] == lines


def test_a_line_of_a_stream_is_capped_by_itself() -> None:
    parser = LineParser(max_event_bytes=100)
    assert len(list(parser.feed(b"a" * 90 + b"\n" + b"b" * 90 + b"\n"))) == 2
    with pytest.raises(EventTooLongError):
        list(parser.feed(b"a" * 101))
