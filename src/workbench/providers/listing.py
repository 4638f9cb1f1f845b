"""What providers and public files say of models: `GET models` of a provider, and a price file by its URL.

Most providers list names only. Limits, capabilities and prices are taken where they are given: by
OpenRouter (dollars a token), Together (dollars per million tokens), Groq, Mistral, Google and vLLM.

Sources, read 2026-11-23: https://platform.openai.com/docs/api-reference/models/list,
https://docs.claude.com/en/api/models-list, https://openrouter.ai/docs/api-reference/list-available-models,
https://docs.together.ai/reference/models-1, https://ai.google.dev/api/models.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from datetime import date
from urllib.parse import quote, urlsplit

from workbench.catalog import Catalog, ModelSpec, Price
from workbench.errors import BadResponseError, ConfigError
from workbench.providers import registry
from workbench.providers.bodies import raise_for_status
from workbench.providers.http import Http, seal
from workbench.providers.json_body import (
    JsonError,
    JsonObject,
    count_of,
    decode_utf8,
    object_of,
    objects_of,
    parse_object,
    text_of,
)
from workbench.providers.reply import Reply
from workbench.providers.wire import HttpProvider
from workbench.settings import Secret

_ABOUT = "models"
"""What an error of a listing is said to be about, where a call would name its model."""

_MOST_PAGES = 50
_MOST_TOKENS = 10**9
_WINDOWS = ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit")
_OUTPUTS = ("max_completion_tokens", "outputTokenLimit")
_PARAMETERS = {
    "tools": "tools",
    "logprobs": "logprobs",
    "structured_outputs": "json_schema",
    "reasoning": "reasoning",
}
_FLAGS = {"function_calling": "tools", "vision": "images", "reasoning": "reasoning"}
_PER_TOKEN = {
    "input_usd_per_mtok": "prompt",
    "output_usd_per_mtok": "completion",
    "cached_input_usd_per_mtok": "input_cache_read",
    "reasoning_usd_per_mtok": "internal_reasoning",
}
_PER_MTOK = {
    "input_usd_per_mtok": "input",
    "output_usd_per_mtok": "output",
    "cached_input_usd_per_mtok": "cached_input",
}


async def listed_models(
    name: str,
    *,
    on: date,
    base_url: str | None = None,
    key: Secret | None = None,
    deadline_s: float = 30.0,
) -> Catalog:
    """The models that the provider `name` lists; `on` is the date of the prices that it gives.

    Raises:
        ConfigError: there is no such provider, or its key or address is not known.
        ProviderError: it did not answer, or with something that lists no model.
    """
    provider = registry.provider(name, base_url=base_url, key=key)
    if not isinstance(provider, HttpProvider):
        raise ConfigError(f"{name} is not reached over HTTP and lists no models")
    http = provider.http
    source = f"{http.base_url}/models"
    try:
        entries = await _pages(http, deadline=asyncio.get_running_loop().time() + deadline_s)
        models = [_model(name, entry, source=source, on=on) for entry in entries]
        if not any(models):
            raise http.failure(BadResponseError, _ABOUT, "the answer lists no models")
        return Catalog(model for model in models if model is not None)
    except BaseException as exc:
        seal(exc)
        raise
    finally:
        await http.aclose()


async def download(url: str, *, deadline_s: float = 60.0) -> bytes:
    """The bytes at a public URL, sent without any key. Redirects are not followed.

    Raises:
        ConfigError: it is no http or https URL of a file.
        ProviderError: it could not be had; its class says why.
    """
    parts = urlsplit(url)
    folder, _, file = parts.path.rpartition("/")
    if not file or parts.query or parts.fragment:
        raise ConfigError(f"{url} is no URL of a file, such as https://example.com/prices.json")
    http = Http(parts.hostname or "prices", f"{parts.scheme}://{parts.netloc}{folder}")
    try:
        deadline = asyncio.get_running_loop().time() + deadline_s
        async with http.get(file, model=file, deadline=deadline) as reply:
            await raise_for_status(reply)
            return await reply.read()
    finally:
        await http.aclose()


async def _pages(http: Http, *, deadline: float) -> list[JsonObject]:
    """The entries of every page."""
    entries: list[JsonObject] = []
    query = ""
    for _ in range(_MOST_PAGES):
        async with http.get(f"models{query}", model=_ABOUT, deadline=deadline) as reply:
            await raise_for_status(reply)
            body = await _object(reply)
        entries += [*objects_of(body, "data"), *objects_of(body, "models")]
        if body.get("has_more") is True and (last := text_of(body, "last_id")):
            query = f"?after_id={quote(last, safe='')}"
        elif token := text_of(body, "nextPageToken"):
            query = f"?pageToken={quote(token, safe='')}"
        else:
            break
    return entries


async def _object(reply: Reply) -> JsonObject:
    """The body; Together's, which is an array, as the `data` of an object."""
    content = await reply.read()
    try:
        text = decode_utf8(content)
        return parse_object(f'{{"data": {text}}}' if text.lstrip().startswith("[") else text)
    except JsonError as exc:
        failure = reply.failure(BadResponseError, f"the answer is {exc}")
    raise failure


def _model(provider: str, entry: JsonObject, *, source: str, on: date) -> ModelSpec | None:
    """One entry; None: it has no name."""
    name = (text_of(entry, "id") or text_of(entry, "name") or "").removeprefix("models/")
    if not name or not name.isprintable():
        return None
    return ModelSpec(
        provider,
        name,
        price=_price(object_of(entry, "pricing") or {}, source=source, on=on),
        context_tokens=_first_count(entry, _WINDOWS),
        max_output_tokens=_first_count(entry, _OUTPUTS)
        or _first_count(object_of(entry, "top_provider") or {}, _OUTPUTS),
        capabilities=frozenset(_capabilities(entry)),
        facts_source=f"{source} ({on})",
    )


def _capabilities(entry: JsonObject) -> Iterator[str]:
    parameters = entry.get("supported_parameters")
    for parameter in parameters if isinstance(parameters, list) else ():
        if isinstance(parameter, str) and parameter in _PARAMETERS:
            yield _PARAMETERS[parameter]
    modalities = (object_of(entry, "architecture") or {}).get("input_modalities")
    if isinstance(modalities, list) and "image" in modalities:
        yield "images"
    flags = object_of(entry, "capabilities") or {}
    yield from (ours for theirs, ours in _FLAGS.items() if flags.get(theirs) is True)


def _price(pricing: JsonObject, *, source: str, on: date) -> Price | None:
    """Dollars a token, as OpenRouter gives them, or per million, as Together; None: neither, or not fixed."""
    rates = _rates(pricing, _PER_TOKEN, usd_per_unit=1e6) or _rates(pricing, _PER_MTOK, usd_per_unit=1.0)
    if not {"input_usd_per_mtok", "output_usd_per_mtok"} <= rates.keys():
        return None
    return Price(**rates, source=source, date=on)  # type: ignore[arg-type]  # the rates are fields of a price


def _rates(pricing: JsonObject, names: Mapping[str, str], *, usd_per_unit: float) -> dict[str, float]:
    """The rates that are given. One of nothing, beside input and output, says that it is not billed apart."""
    found: dict[str, float] = {}
    for ours, theirs in names.items():
        value = pricing.get(theirs)
        try:
            rate = float(value) * usd_per_unit if isinstance(value, int | float | str) else -1.0
        except ValueError:
            continue
        if 0.0 < rate < math.inf or (rate == 0.0 and ours in ("input_usd_per_mtok", "output_usd_per_mtok")):
            found[ours] = round(rate, 9)
    return found


def _first_count(entry: JsonObject, names: tuple[str, ...]) -> int | None:
    counts = (count_of(entry, name, most=_MOST_TOKENS) for name in names)
    return next((count for count in counts if count), None)
