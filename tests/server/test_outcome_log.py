"""What was served is kept, whatever happens to the database, the disk or the process."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from workbench.server.database import open_database, outcomes
from workbench.server.exchange import Asked, Routed, Served
from workbench.server.outcome_journal import OutcomeJournal
from workbench.server.outcome_log import OutcomeLog
from workbench.server.virtual_keys import VirtualKey
from workbench.types import Completion, Decision, Decoding, Prompt, Usage

pytestmark = pytest.mark.anyio

KEY = VirtualKey("key", "test", "default")


def served(number: int, *, cost_usd: float = 0.5) -> Served:
    asked = Asked("lab/m", Prompt(str(number), "?"), Decoding())
    routed = Routed(f"request-{number}", asked, Decision("lab/m", "fixed"), arm="lab/m", created_s=0)
    completion = Completion(
        text="!",
        model="m",
        served_model="m",
        provider="lab",
        usage=Usage(1, 1),
        latency_s=0.1,
        finish_reason="stop",
        cost_usd=cost_usd,
    )
    return Served(routed, completion)


def n_kept(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(outcomes)).scalar_one())


@contextmanager
def without_table(engine: sa.Engine) -> Iterator[None]:
    """The database does not take outcomes while the block runs."""
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE outcomes RENAME TO away"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO outcomes"))


async def test_memory_stays_bounded_while_the_database_is_down_and_every_row_comes_back(
    tmp_path: Path,
) -> None:
    engine = open_database(None, tmp_path)
    log = OutcomeLog(engine, tmp_path, with_content=False, most_in_memory=10)
    with without_table(engine):
        for number in range(2_000):
            log.served(KEY, served(number))
        await log.flush()
        assert (log.n_waiting, len(log._waiting)) == (2_000, 10)
        assert log.problem is not None
        assert sum(usd for _, usd in log._waiting_usd()) == 1_000.0
    await log.flush()
    assert (n_kept(engine), log.n_waiting, log.spent_usd("key")) == (2_000, 0, 1_000.0)
    assert [path.stat().st_size for path in tmp_path.glob("journal/0/*.jsonl")] == [0]


async def test_flushes_at_once_write_each_row_once(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path)
    log = OutcomeLog(engine, tmp_path, with_content=False)
    for number in range(1_200):
        log.served(KEY, served(number))
    await asyncio.gather(log.flush(), log.flush(), log.flush())
    assert (n_kept(engine), log.n_waiting) == (1_200, 0)


async def test_a_full_disk_leaves_rows_in_memory(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path)
    log = OutcomeLog(engine, tmp_path, with_content=False, most_in_memory=10)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with without_table(engine):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            for number in range(25):
                log.served(KEY, served(number))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        assert (log.n_waiting, log.n_lost, log.is_full) == (20, 5, True)
    await log.flush()
    assert (n_kept(engine), log.is_full) == (20, False)
    log.served(KEY, served(99))
    await log.flush()
    assert n_kept(engine) == 21


def test_a_line_that_the_disk_takes_in_part_leaves_no_torn_line(tmp_path: Path) -> None:
    journal = OutcomeJournal(tmp_path)
    assert journal.append({"n": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12, hard))
    try:
        assert not journal.append({"n": 2, "long": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert journal.append({"n": 3})
    journal.close()
    [(_, rows)] = OutcomeJournal(tmp_path).left_behind()
    assert [row["n"] for row in rows] == [1, 3]


async def test_what_a_killed_process_paid_for_is_written_by_the_next_one(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from server.test_outcome_log import KEY, served
from workbench.server.database import open_database
from workbench.server.outcome_log import OutcomeLog
folder = Path(sys.argv[1])
log = OutcomeLog(open_database(None, folder), folder, with_content=False)
for number in range(7):
    log.served(KEY, served(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = tmp_path.glob("journal/*/*.jsonl")
    left.write_bytes(left.read_bytes() + left.read_bytes().splitlines()[0] + b'\n{"request_id": "to')
    engine = open_database(None, tmp_path)
    async with OutcomeLog(engine, tmp_path, with_content=False) as log:
        assert n_kept(engine) == 7
        assert log.spent_usd("key") == 3.5
    assert not list(tmp_path.glob("journal/*/*.jsonl"))


async def test_the_journal_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path)
    living = OutcomeLog(engine, tmp_path, with_content=False)
    living.served(KEY, served(1))
    async with OutcomeLog(engine, tmp_path, with_content=False):
        assert n_kept(engine) == 0
    await living.flush()
    assert n_kept(engine) == 1


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(tmp_path: Path) -> None:
    engine = open_database(None, tmp_path)
    log = OutcomeLog(engine, tmp_path, with_content=False)
    for number in range(3):
        log.served(KEY, served(number))
    log._waiting[1][0]["arm"] = None
    await log.flush()
    assert (n_kept(engine), log.n_lost, log.n_waiting) == (2, 1, 0)


def test_rows_are_kept_in_a_file_of_the_owner_alone(tmp_path: Path) -> None:
    journal = OutcomeJournal(tmp_path)
    journal.append({"n": 1})
    [file] = tmp_path.glob("0/*.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == {"n": 1}
