"""What a caller sees of the server, over real HTTP on loopback."""

import json

import pytest

from server.conftest import MODELS, Running

pytestmark = pytest.mark.anyio


async def test_a_chat_completion_is_answered_in_the_protocols_shape(server: Running) -> None:
    response = await server.ask()
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert (
        body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    )
    assert response.headers["x-workbench-model"] == MODELS[1]


async def test_the_decision_is_in_the_body_only_where_it_is_asked_for(server: Running) -> None:
    shown = await server.ask(workbench={"decision": True})
    assert shown.json()["workbench"]["propensity"] == 1.0
    assert "workbench" not in (await server.ask()).json()


async def test_a_stream_says_what_the_whole_answer_says(server: Running) -> None:
    whole = (await server.ask(seed=3)).json()["choices"][0]["message"]["content"]
    streamed = await server.ask(seed=3, stream=True)
    events = [line[6:] for line in streamed.text.split("\n") if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events[:-1]]
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert events[-1] == "[DONE]"
    assert said == whole


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wb-000000000000-" + "A" * 43},
        {"authorization": "Bearer " + "A" * 20_000},
        {"x-api-key": "no"},
        {"authorization": "Basic x"},
    ],
    ids=["none", "unknown", "long", "other-header", "other-scheme"],
)
async def test_a_wrong_token_is_refused_the_same_way_whatever_is_wrong(
    server: Running, headers: dict[str, str]
) -> None:
    response = await server.http.post("/v1/chat/completions", json={}, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_an_unknown_model_and_a_bad_body_are_the_callers_errors(server: Running) -> None:
    unknown = await server.ask(model="openai/none")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    bad = await server.http.post("/v1/chat/completions", content=b"{", headers=server.caller)
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_json")
    deep = await server.http.post("/v1/chat/completions", content=b"[" * 100_000, headers=server.caller)
    assert deep.status_code == 400


async def test_a_foreign_host_is_refused(server: Running) -> None:
    response = await server.http.get("/v1/models", headers=server.caller | {"host": "evil.example"})
    assert response.status_code == 400


async def test_a_revoked_key_works_no_more(server: Running) -> None:
    made = await server.http.post("/admin/keys", json={"name": "short"}, headers=server.admin)
    key = made.json()
    headers = {"authorization": f"Bearer {key['token']}"}
    assert (await server.http.get("/v1/models", headers=headers)).status_code == 200
    await server.http.delete(f"/admin/keys/{key['key_id']}", headers=server.admin)
    assert (await server.http.get("/v1/models", headers=headers)).status_code == 401


async def test_the_budget_of_a_key_is_kept(server: Running) -> None:
    limits = {"name": "poor", "budget_usd": 1e-9}
    made = await server.http.post("/admin/keys", json=limits, headers=server.admin)
    poor = {"authorization": f"Bearer {made.json()['token']}"}
    body = {"model": MODELS[1], "messages": [{"role": "user", "content": "2 + 2?"}]}
    response = await server.http.post("/v1/chat/completions", json=body, headers=poor)
    assert (response.status_code, response.json()["error"]["code"]) == (402, "budget_exceeded")
