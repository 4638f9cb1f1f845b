"""Fetching a benchmark over HTTP from a loopback server that can misbehave."""

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from workbench import outcomes
from workbench.datasets.fetch import FetchProgress, convert, fetch_benchmark, fetch_originals
from workbench.datasets.recorded import Benchmark, OriginalFile, benchmark
from workbench.errors import ChecksumError, DataError, LockedError
from workbench.storage import locked

pytestmark = pytest.mark.anyio

ORIGINAL = "research/problems/llm_router/resources/reference_data.csv"


@dataclass
class FileServer:
    """Serves `files` by path. `faults` maps a path to what goes wrong there; `asked` records the paths."""

    files: dict[str, bytes]
    faults: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ")[1].decode().lstrip("/")
        self.asked.append(path)
        fault, body = self.faults.get(path, ""), self.files.get(path, b"")
        status = "404 Not Found" if fault == "missing" or path not in self.files else "200 OK"
        promised = len(body)
        body = {"changed": body[::-1], "short": body[:-3], "endless": body * 50}.get(fault, body)
        promised = promised if fault == "short" else len(body)
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {promised}\r\nConnection: close\r\n\r\n".encode() + body
        )
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    serving = FileServer({ORIGINAL: routerbench_csv(), "b.txt": b"second file"})
    listening = await asyncio.start_server(serving.answer, "127.0.0.1", 0)
    async with listening:
        serving.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield serving


def routerbench_csv() -> bytes:
    text = io.StringIO()
    names = ["sample_id", "prompt", "eval_name", "tiny", "big"]
    names += [f"{model}|{what}" for model in ("tiny", "big") for what in ("model_response", "total_cost")]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for number in (1, 2):
        row = {"sample_id": f"q{number}", "prompt": f"['One, {number}?', 'Sure?']", "eval_name": "counting"}
        row |= {"tiny": "0.0", "big": "1.0", "tiny|model_response": "['no']", "big|model_response": "['yes']"}
        writer.writerow(row | {"tiny|total_cost": "0.001", "big|total_cost": "0.02"})
    return text.getvalue().encode()


def described(server: FileServer) -> Benchmark:
    """A benchmark whose originals are what the server holds."""
    files = [
        OriginalFile(path, hashlib.sha256(content).hexdigest(), len(content))
        for path, content in server.files.items()
    ]
    row = benchmark("routerbench365")
    return replace(row, base_url=server.url, files=tuple(files), n_prompts=2, n_models=2)


async def test_originals_are_fetched_verified_and_converted(server: FileServer, tmp_path: Path) -> None:
    wanted = described(server)
    await fetch_originals(wanted, tmp_path / "originals")
    convert(wanted, tmp_path / "originals", tmp_path / "table.parquet")
    table = outcomes.read(tmp_path / "table.parquet")
    assert outcomes.pivot(table).loc["q1"].to_dict() == {"big": 1.0, "tiny": 0.0}
    assert table["prompt"].iloc[0] == "One, 1?\nSure?"
    assert table["cost_usd"].sum() == pytest.approx(2 * 0.021)


async def test_a_second_fetch_asks_for_nothing_again(server: FileServer, tmp_path: Path) -> None:
    await fetch_originals(described(server), tmp_path)
    await fetch_originals(described(server), tmp_path)
    assert server.asked == [ORIGINAL, "b.txt"]


async def test_an_interrupted_fetch_goes_on_with_what_is_missing(server: FileServer, tmp_path: Path) -> None:
    server.faults["b.txt"] = "missing"
    with pytest.raises(DataError, match="404"):
        await fetch_originals(described(server), tmp_path)
    server.faults.clear()
    await fetch_originals(described(server), tmp_path)
    assert server.asked == [ORIGINAL, "b.txt", "b.txt"]


async def test_a_damaged_file_in_the_cache_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"torn")
    await fetch_originals(described(server), tmp_path)
    assert (tmp_path / "b.txt").read_bytes() == b"second file"


@pytest.mark.parametrize("fault", ["changed", "endless"])
async def test_other_bytes_than_the_recorded_are_refused_and_not_kept(
    server: FileServer, tmp_path: Path, fault: str
) -> None:
    server.faults["b.txt"] = fault
    with pytest.raises(ChecksumError, match=r"b\.txt is not the file that was recorded"):
        await fetch_originals(described(server), tmp_path)
    assert not (tmp_path / "b.txt").exists()


async def test_a_body_that_breaks_off_is_one_clear_error(server: FileServer, tmp_path: Path) -> None:
    server.faults["b.txt"] = "short"
    with pytest.raises(DataError, match="run the same command again to go on"):
        await fetch_originals(described(server), tmp_path)
    assert not (tmp_path / "b.txt").exists()


async def test_a_server_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    gone = replace(benchmark("routerbench365"), base_url="http://127.0.0.1:1")
    with pytest.raises(DataError, match="ConnectError"):
        await fetch_originals(gone, tmp_path)


async def test_progress_counts_files_and_bytes_to_the_end(server: FileServer, tmp_path: Path) -> None:
    seen: list[FetchProgress] = []
    await fetch_originals(described(server), tmp_path, on_progress=seen.append)
    assert [(one.files_done, one.n_files) for one in seen] == [(1, 2), (2, 2)]
    assert seen[-1].bytes_done == seen[-1].n_bytes == sum(map(len, server.files.values()))


async def test_a_given_client_is_used_and_left_open(server: FileServer, tmp_path: Path) -> None:
    async with httpx.AsyncClient(headers={"user-agent": "mine"}) as client:
        await fetch_originals(described(server), tmp_path, client=client)
        assert not client.is_closed


async def test_two_processes_do_not_fetch_into_one_folder(server: FileServer, tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", busy="held"), pytest.raises(LockedError, match="another process"):
        await fetch_originals(described(server), tmp_path)


async def test_fewer_prompts_than_recorded_are_no_table(server: FileServer, tmp_path: Path) -> None:
    wanted = replace(described(server), n_prompts=3)
    await fetch_originals(wanted, tmp_path / "originals")
    with pytest.raises(DataError, match="2 prompts x 2 models instead of 3 x 2"):
        convert(wanted, tmp_path / "originals", tmp_path / "table.parquet")
    assert not (tmp_path / "table.parquet").exists()


async def test_a_benchmark_without_checksums_is_not_fetched() -> None:
    with pytest.raises(DataError, match=r"cannot be fetched.*WORKBENCH_BENCHMARKS_DIR"):
        await fetch_benchmark("llmrouter9")


async def test_a_table_in_the_cache_is_not_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "benchmarks" / "routerbench365.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"here")
    assert await fetch_benchmark("routerbench365") == path
