"""Lists of models and price files, asked for over real HTTP."""

from datetime import date

import pytest
from aiohttp import web

from loopback import answering, serving
from workbench.catalog import Price
from workbench.errors import AuthError, BadResponseError, ConfigError, ModelNotFoundError
from workbench.providers.listing import download, listed_models
from workbench.settings import Secret

pytestmark = pytest.mark.anyio

ON = date(2026, 11, 23)
KEY = Secret("canary-7f3a9c51e0")

OPENROUTER = {
    "data": [
        {
            "id": "maker/model",
            "context_length": 1000,
            "top_provider": {"max_completion_tokens": 100},
            "architecture": {"input_modalities": ["text", "image"]},
            "supported_parameters": ["tools", "logprobs", "structured_outputs", "seed"],
            "pricing": {
                "prompt": "0.000003",
                "completion": "0.000015",
                "input_cache_read": "0",
                "image": "1",
            },
        },
        {"id": "auto", "pricing": {"prompt": "-1", "completion": "-1"}},
    ]
}


async def test_openrouter_gives_prices_limits_and_capabilities() -> None:
    async with serving(("GET", "/v1/models", answering(OPENROUTER))) as url:
        found = await listed_models("openrouter", on=ON, base_url=f"{url}/v1", key=KEY)
    spec = found["openrouter/maker/model"]
    assert spec.price == Price(3.0, 15.0, f"{url}/v1/models", ON)
    assert (spec.context_tokens, spec.max_output_tokens) == (1000, 100)
    assert spec.capabilities == {"images", "tools", "logprobs", "json_schema"}
    assert found["openrouter/auto"].price is None


async def test_together_lists_an_array_with_prices_per_million() -> None:
    body = [{"id": "m", "pricing": {"input": 0.88, "output": 0.9, "cached_input": 0}}]
    async with serving(("GET", "/v1/models", answering(body))) as url:
        found = await listed_models("together", on=ON, base_url=f"{url}/v1", key=KEY)
    assert found["together/m"].price == Price(0.88, 0.9, f"{url}/v1/models", ON)


async def test_every_page_is_read_and_the_key_is_sent() -> None:
    seen = []

    async def respond(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["Authorization"], request.query.get("after_id")))
        name = "b" if "after_id" in request.query else "a"
        return web.json_response({"data": [{"id": name}], "has_more": name == "a", "last_id": name})

    async with serving(("GET", "/v1/models", respond)) as url:
        found = await listed_models("openai", on=ON, base_url=f"{url}/v1", key=KEY)
    assert [spec.model_id for spec in found] == ["openai/a", "openai/b"]
    assert seen == [("Bearer canary-7f3a9c51e0", None), ("Bearer canary-7f3a9c51e0", "a")]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"error": {"message": "wrong key canary-7f3a9c51e0"}}, 401, AuthError),
        (b"<html>", 200, BadResponseError),
        ({"data": []}, 200, BadResponseError),
        ({"data": [{"id": 3}, "x", {"id": "a\nb"}]}, 200, BadResponseError),
    ],
    ids=["key", "html", "empty", "nameless"],
)
async def test_an_answer_that_lists_nothing_is_an_error_without_the_key(
    body: object, status: int, error: type[Exception]
) -> None:
    async with serving(("GET", "/v1/models", answering(body, status=status))) as url:
        with pytest.raises(error) as caught:
            await listed_models("openai", on=ON, base_url=f"{url}/v1", key=KEY)
    assert "canary" not in str(caught.value)


async def test_a_file_is_downloaded_and_a_missing_one_is_an_error() -> None:
    async with serving(("GET", "/folder/prices.json", answering(b"[1]"))) as url:
        assert await download(f"{url}/folder/prices.json") == b"[1]"
        with pytest.raises(ModelNotFoundError, match="404"):
            await download(f"{url}/folder/other.json")


@pytest.mark.parametrize("url", ["https://example.com/", "ftp://example.com/f", "https://e.com/f?key=1"])
async def test_what_is_no_url_of_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        await download(url)
