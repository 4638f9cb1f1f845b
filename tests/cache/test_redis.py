"""What is in the Redis: how entries are named and how long they last, what is foreign, and who may know."""

import asyncio
import io
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from redis_server import RedisServer, serving
from workbench.cache.redis import PREFIX, RedisStore
from workbench.errors import ConfigError
from workbench.redaction import masked
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

PASSWORD = "canary/7f3a#9c51@e0"
QUOTED = "canary%2F7f3a%239c51%40e0"


@pytest.fixture
async def store(redis: RedisServer) -> AsyncIterator[RedisStore]:
    redis.command("FLUSHALL")
    store = RedisStore(redis.url, patience_s=5.0)
    yield store
    await store.aclose()


async def test_an_entry_has_a_versioned_name_and_expires_by_itself(
    store: RedisStore, redis: RedisServer
) -> None:
    await store.put("abc", b"1")
    assert redis.command("KEYS", "*") == [b"workbench:answers:1:abc"]
    assert 29 * 86_400_000 < redis.command("PTTL", "workbench:answers:1:abc") <= 30 * 86_400_000


async def test_the_server_forgets_an_entry_at_the_end_of_its_lifetime(redis: RedisServer) -> None:
    store = RedisStore(redis.url, lifetime_s=0.3)
    await store.put("short", b"1")
    assert await store.get("short") == b"1"
    await asyncio.sleep(0.35)
    assert await store.get("short") is None
    assert redis.command("EXISTS", f"{PREFIX}short") == 0
    await store.aclose()


async def test_what_one_store_kept_another_of_another_lifetime_finds_and_knows_its_age(
    store: RedisStore, redis: RedisServer
) -> None:
    other = RedisStore(redis.url, lifetime_s=5.0)
    await other.put("a", b"1")
    await asyncio.sleep(0.05)
    assert await store.get("a", max_age_s=2.0) == b"1"
    assert await store.get("a", max_age_s=0.04) is None
    await other.aclose()


FOREIGN: dict[str, Callable[[RedisServer, str], object]] = {
    "no-lifetime": lambda redis, name: redis.command("SET", name, b"hello", "PX", "9999"),
    "pickle": lambda redis, name: redis.command("SET", name, pickle.dumps("hello"), "PX", "9999"),
    "another-type": lambda redis, name: redis.command("RPUSH", name, "a", "b"),
    "no-expiry": lambda redis, name: redis.command("SET", name, b"1000\nhello"),
    "longer-than-its-lifetime": lambda redis, name: redis.command("SET", name, b"1000\nhello", "PX", "9999"),
    "a-number-without-end": lambda redis, name: redis.command("SET", name, b"9" * 5000, "PX", "9999"),
    "huge": lambda redis, name: redis.command("SET", name, b"9999\n" + b"x" * 2**21, "PX", "9999"),
}


@pytest.mark.parametrize("plant", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_is_no_entry_is_a_miss_and_deleted(store: RedisStore, redis: RedisServer, plant) -> None:
    plant(redis, f"{PREFIX}a")
    assert await store.get("a", max_age_s=60.0) is None
    assert redis.command("EXISTS", f"{PREFIX}a") == 0
    assert (store.statistics.n_failures, store.is_out) == (0, False)


async def test_an_answer_of_over_a_mebibyte_is_not_kept(store: RedisStore) -> None:
    await store.put("a", b"x" * 2**20)
    await store.put("b", b"x" * (2**20 + 1))
    assert (await store.get("a"), await store.get("b")) == (b"x" * 2**20, None)
    assert (store.statistics.n_stores, store.statistics.n_failures) == (1, 0)


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_a_full_server_forgets_or_refuses_as_it_is_set_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    options = {"maxmemory": "4mb", "maxmemory-policy": policy}
    with serving(tmp_path, **options) as server:
        store = RedisStore(server.url, patience_s=5.0)
        for number in range(80):
            await store.put(str(number), b"x" * 60_000)
        newest = await store.get(str(store.statistics.n_stores - 1))
        await store.aclose()
    assert newest == b"x" * 60_000
    assert (store.statistics.n_failures > 10) == (policy == "noeviction")
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    refusal = f"cache at 127.0.0.1:{server.port}/0 refuses: OutOfMemoryError"
    assert (said, store.is_out) == ([refusal] if policy == "noeviction" else [], False)


async def test_a_server_that_wants_a_password_is_given_it(tmp_path: Path) -> None:
    with serving(tmp_path, requirepass=PASSWORD) as server:
        store = RedisStore(server.url.replace("//", f"//:{QUOTED}@"))
        await store.put("a", b"1")
        assert await store.get("a") == b"1"
        assert store.statistics.n_failures == 0
        await store.aclose()


@pytest.mark.parametrize("user", ["", "me"], ids=["password", "user-and-password"])
async def test_a_wrong_password_is_a_miss_and_nowhere_to_be_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, user: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path, requirepass="another") as server:
        store = RedisStore(Secret(server.url.replace("//", f"//{user}:{QUOTED}@")))
        for _ in range(5):
            assert await store.get("a") is None
        await store.aclose()
    assert store.is_out
    seen = f"{store} {store!r} {vars(store)} {store.address} {caplog.text} {vars(store._settings['retry'])}"
    assert "AuthenticationError" in caplog.text
    assert not _is_in(seen)
    assert masked(f"the password is {PASSWORD}") == "the password is **********"


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{QUOTED}@localhost/0",
        f"redis://:{PASSWORD}@localhost/0",
        "redis://me:12/canary@localhost/0",
        "redis://:12#canary@localhost/0",
        "redis://:12?canary@localhost/0",
        f"redis://:{QUOTED}@localhost/canary",
        f"redis://:{QUOTED}@localhost:canary/0",
        f"redis://:{QUOTED}@localhost/0?canary=1",
        f"redis://:{QUOTED}@localhost/0?health_check_interval=canary",
        "canary",
        "",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="the URL of the Redis is not one") as caught:
        RedisStore(Secret(url))
    screen = io.StringIO()
    for line in traceback.TracebackException.from_exception(caught.value, capture_locals=True).format():
        screen.write(line)
    shown = "\n".join(line for line in screen.getvalue().splitlines() if not line.startswith("    url = '"))
    assert "canary" not in shown
    assert caught.value.__context__ is caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://me:canary@cache.example:6380/2", "cache.example:6380/2"),
        ("rediss://cache.example", "cache.example:6379/0"),
        ("unix:///run/redis.sock?db=3", "/run/redis.sock/3"),
    ],
)
def test_its_repr_says_where_it_is(url: str, address: str) -> None:
    assert repr(RedisStore(url)) == f"<RedisStore {address}>"


@pytest.mark.parametrize("setting", ["lifetime_s", "patience_s", "retry_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_time_that_is_none_is_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=setting):
        RedisStore("redis://localhost/0", **{setting: value})


def test_without_the_library_it_says_which_extra_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "redis.py").write_text("raise ImportError('not installed')")
    code = "import workbench.cache; import workbench.cache.redis"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "a cache in Redis needs the extra 'redis': pip install 'workbench[redis]'" in done.stderr


def _is_in(seen: str) -> bool:
    return any(form in seen for form in (PASSWORD, QUOTED, "canary"))
