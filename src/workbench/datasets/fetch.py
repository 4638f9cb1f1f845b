"""Fetching a recorded benchmark: its original files by URL, each one checked, then converted."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pandas as pd

from workbench import outcomes
from workbench.datasets.originals import CONVERTERS
from workbench.datasets.recorded import Benchmark, OriginalFile, benchmark, cached_table, how_to_get
from workbench.errors import ChecksumError, DataError
from workbench.settings import Settings
from workbench.storage import locked, safe_name, writable_folder, write_atomically

FILE_LIMIT_S = 300.0
"""The longest that one file (at most a few megabytes) may take."""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch has come; files that were here already count as done."""

    benchmark: str
    files_done: int
    n_files: int
    bytes_done: int
    n_bytes: int


OnProgress = Callable[[FetchProgress], None]


async def fetch_benchmark(
    name: str, *, client: httpx.AsyncClient | None = None, on_progress: OnProgress | None = None
) -> Path:
    """Fetch and convert the benchmark `name` into the cache; the path of its outcome table.

    A table that is there already is returned as it is. Files that were fetched and verified before an
    interruption are not fetched again.

    Raises:
        DataError: no such benchmark, one that cannot be fetched, or a server that did not send a file.
        ChecksumError: a file is not the one that was recorded; nothing of it is kept.
        StorageError: the cache cannot be written, or another process is fetching the same.
    """
    wanted = benchmark(name)
    table = cached_table(name)
    if table.is_file():
        return table
    folder = Settings().cache_dir / "originals" / safe_name(name, what="benchmark")
    await fetch_originals(wanted, folder, client=client, on_progress=on_progress)
    await asyncio.to_thread(convert, wanted, folder, table)
    return table


async def fetch_originals(
    wanted: Benchmark,
    folder: Path,
    *,
    client: httpx.AsyncClient | None = None,
    on_progress: OnProgress | None = None,
) -> None:
    """Bring every original file of `wanted` into `folder`, at its path in the repository.

    Raises:
        DataError, ChecksumError, StorageError: as `fetch_benchmark`.
    """
    if wanted.not_fetchable is not None:
        raise DataError(f"the benchmark {wanted.name!r} cannot be fetched: {how_to_get(wanted)}")
    writable_folder(folder)
    busy = f"another process is fetching {wanted.name!r} into {folder}; wait for it, then run again"
    with locked(folder / ".lock", busy=busy):
        async with _client(client) as http:
            n_bytes = 0
            for number, file in enumerate(wanted.files, start=1):
                await _fetch_file(http, f"{wanted.base_url}/{file.path}", folder / file.path, expected=file)
                n_bytes += file.n_bytes
                if on_progress is not None:
                    on_progress(
                        FetchProgress(wanted.name, number, len(wanted.files), n_bytes, wanted.n_bytes)
                    )


def convert(wanted: Benchmark, folder: Path, table: Path) -> pd.DataFrame:
    """Convert the originals in `folder` into an outcome table, write it to `table`, and return it.

    Raises:
        DataError: the files do not hold the recorded number of prompts and models.
    """
    converted = outcomes.validate(CONVERTERS[wanted.name](wanted, folder))
    found = (converted["prompt_id"].nunique(), converted["model"].nunique())
    if found != (wanted.n_prompts, wanted.n_models):
        raise DataError(
            f"{wanted.name!r} converted to {found[0]} prompts x {found[1]} models instead of "
            f"{wanted.n_prompts} x "
            f"{wanted.n_models}; remove {folder} and fetch it again"
        )
    outcomes.write(converted, table)
    return converted


@asynccontextmanager
async def _client(given: httpx.AsyncClient | None) -> AsyncIterator[httpx.AsyncClient]:
    if given is not None:
        yield given
        return
    async with httpx.AsyncClient(timeout=30.0) as own:
        yield own


async def _fetch_file(http: httpx.AsyncClient, url: str, path: Path, *, expected: OriginalFile) -> None:
    if _is_here(path, expected):
        return
    try:
        async with asyncio.timeout(FILE_LIMIT_S):
            content = await _download(http, url, limit=expected.n_bytes)
    except TimeoutError as exc:
        raise DataError(f"{url} took over {FILE_LIMIT_S:.0f} s; run the same command again to go on") from exc
    except httpx.HTTPError as exc:
        raise DataError(
            f"{url} could not be fetched ({type(exc).__name__}: {exc}); run the same command again to go on"
        ) from exc
    if _sha256(content) != expected.sha256:
        raise ChecksumError(
            f"{url} is not the file that was recorded: {len(content)} of {expected.n_bytes} bytes with "
            "sha256 "
            f"{_sha256(content)}, expected {expected.sha256}. Nothing was kept; try again, and if this "
            "stays, report it"
        )
    write_atomically(path, lambda file: file.write(content))


async def _download(http: httpx.AsyncClient, url: str, *, limit: int) -> bytes:
    """The body at `url`; reading stops once there is more than `limit`, so memory is bounded."""
    content = bytearray()
    async with http.stream("GET", url) as response:
        if response.status_code != httpx.codes.OK:
            raise DataError(
                f"{url} answered {response.status_code} {response.reason_phrase}; try again later"
            )
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > limit:
                break
    return bytes(content)


def _is_here(path: Path, expected: OriginalFile) -> bool:
    return path.is_file() and _sha256(path.read_bytes()) == expected.sha256


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
