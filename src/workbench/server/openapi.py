"""The OpenAPI document: FastAPI's own of its routes, and those of the protocols beside it."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from workbench.server import embeddings, feedback
from workbench.server.exchange import Json, Wire
from workbench.server.operations import Alive, Ready

_REF = "#/components/schemas/"
_TOKEN = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "a virtual key; an admin token below /admin",
    }
}
_EVENT: Json = {
    "type": "object",
    "description": "one event of the stream; data is JSON, but for the last of chat completions, [DONE]",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
_OBJECT: Json = {"application/json": {"schema": {"type": "object"}}}
_SECURED: list[Json] = [{"bearer": []}]
_REFUSALS = {
    "400": "the request is wrong, or addressed to another host",
    "401": "no valid token",
    "402": "the budget of the key does not allow it",
    "403": "the key may not ask for this model",
    "404": "there is no such thing here",
    "405": "another method is needed",
    "408": "the body did not come in time",
    "409": "this does not go together with what is there",
    "413": "the body is too large",
    "415": "the body is compressed",
    "429": "too many requests",
    "431": "the headers are too large",
    "500": "the server failed",
    "502": "the provider failed",
    "503": "the server has no room for one more caller, or is not ready",
    "504": "the provider did not answer in time",
}


def document(app: FastAPI, wires: Sequence[Wire]) -> Json:
    """The whole document.

    Args:
        app: FastAPI's part, with its routes.
        wires: the protocols that are served beside it.
    """
    found = app.openapi()
    components: Json = found.setdefault("components", {}).setdefault("schemas", {})
    found["components"]["securitySchemes"] = _TOKEN
    for wire in wires:
        request, answer = wire.schemas()
        content = _json(answer) | {"text/event-stream": {"schema": _EVENT}}
        body = _moved(request, components)
        found["paths"][wire.path] = {"post": _operation(wire.path, content, body=body)}
    for path, model in (
        (embeddings.PATH, embeddings.EmbeddingsRequest),
        (feedback.PATH, feedback.FeedbackRequest),
    ):
        body = _moved(_schema(model), components)
        found["paths"][path] = {"post": _operation(path, _OBJECT, body=body)}
    found["paths"]["/v1/models"] = {"get": _operation("/v1/models", _OBJECT)}
    one = _operation("/v1/models/{name}", _OBJECT)
    one["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    found["paths"]["/v1/models/{name}"] = {"get": one}
    found["paths"] |= _operations(components)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            _secure(path, operation)
    return found


def _schema(model: type[BaseModel]) -> Json:
    return model.model_json_schema(ref_template=_REF + "{model}")


def _moved(schema: Json, components: Json) -> Json:
    """A schema as a component, with those inside it beside it; their names begin with its own."""
    title = str(schema["title"])
    inner = schema.pop("$defs", {})
    names = {name: f"{title}{name}" for name in inner}
    for name, one in inner.items():
        components[names[name]] = _renamed(one, names)
    components[title] = _renamed(schema, names)
    return {"$ref": _REF + title}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value.get("$ref"), str):
        changed["$ref"] = _REF + names[value["$ref"].rsplit("/", 1)[1]]
    return changed


def _operations(components: Json) -> Json:
    """The paths for those who run the server."""
    answers, models = models_json_schema(
        [(Alive, "serialization"), (Ready, "serialization")], ref_template=_REF + "{model}"
    )
    components |= models["$defs"]
    alive, ready = (_json(schema) for schema in answers.values())
    numbers = {"text/plain": {"schema": {"type": "string"}}}
    found: Json = {
        path: {"get": _operation(path, content) | {"tags": ["operations"], "description": about}}
        for path, content, about in (
            ("/health/live", alive, "Whether the process answers."),
            ("/health/ready", ready, "Whether requests can be served now."),
            ("/metrics", numbers, "What happened since the start, of all workers, for Prometheus."),
        )
    }
    unready = {"description": "requests cannot be served now", "content": ready}
    found["/health/ready"]["get"]["responses"]["503"] = unready
    return found


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _operation(path: str, content: Json, *, body: Json | None = None) -> Json:
    name = path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    operation: Json = {
        "operationId": name,
        "tags": ["v1"],
        "responses": {"200": {"description": "the answer", "content": content}},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _secure(path: str, operation: Json) -> None:
    """Say which token a path asks for, and how it refuses."""
    if not path.startswith("/health"):
        operation["security"] = _SECURED
    operation["responses"].pop("422", None)
    for status, reason in _REFUSALS.items():
        refusal = {"description": reason, "content": _OBJECT}
        operation["responses"].setdefault(status, refusal)
