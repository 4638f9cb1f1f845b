"""The store in memory: bounded by entries and by bytes, and forgetting the least recently used first."""

import pytest

from workbench.cache import MemoryStore
from workbench.errors import ConfigError

pytestmark = pytest.mark.anyio


async def test_the_least_recently_used_goes_first() -> None:
    store = MemoryStore(max_entries=2)
    await store.put("a", b"1")
    await store.put("b", b"2")
    await store.get("a")
    await store.put("c", b"3")
    assert [await store.get(key) for key in "abc"] == [b"1", None, b"3"]
    assert store.statistics.n_evictions == 1


async def test_bytes_are_bounded_and_counted() -> None:
    store = MemoryStore(max_bytes=10)
    for number in range(100):
        await store.put(str(number), b"1234")
        assert store.n_bytes == 4 * store.n_entries <= 10
    assert await store.get("99") == b"1234"


async def test_what_is_too_large_replaces_nothing_but_itself() -> None:
    store = MemoryStore(max_bytes=10)
    await store.put("a", b"1")
    await store.put("b", b"2")
    await store.put("a", b"x" * 11)
    assert (await store.get("a"), await store.get("b"), store.n_bytes) == (None, b"2", 1)


async def test_what_is_put_again_counts_once() -> None:
    store = MemoryStore()
    await store.put("a", b"12")
    await store.put("a", b"3")
    assert (store.n_entries, store.n_bytes, await store.get("a")) == (1, 1, b"3")


async def test_what_is_too_old_is_forgotten() -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    await store.put("a", b"1")
    now[0] = 10.0
    assert await store.get("a", max_age_s=10.0) == b"1"
    assert await store.get("a", max_age_s=9.9) is None
    assert store.n_entries == store.n_bytes == 0


async def test_deleting_what_is_not_there_does_nothing() -> None:
    store = MemoryStore()
    await store.delete("a")
    assert store.n_bytes == 0


@pytest.mark.parametrize("room", [{"max_entries": 0}, {"max_bytes": 0}], ids=["entries", "bytes"])
def test_a_store_without_room_is_refused(room: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="can keep nothing"):
        MemoryStore(**room)
