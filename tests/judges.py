"""Fake models behind a chat-completions server: some answer prompts, one judges, and can be talked to."""

import json
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from loopback import Respond

JUDGE = {"kind": "judge", "model": "simulator/sim-large", "rubric": "Is it right?", "scale": "1-5"}
PAIRWISE = {"kind": "pairwise_judge", "model": "simulator/sim-large"}
ARMS = [{"name": "small", "model": "simulator/sim-small"}, {"name": "nano", "model": "simulator/sim-nano"}]

TAG = re.compile(r"^BEGIN (ANSWER(?: [AB])?) ([0-9a-f]{32})$", re.MULTILINE)
NONCE = re.compile(r'"nonce": "([0-9a-f]{32})"')


def answers_in(text: str) -> dict[str, str]:
    """What stands between the fences of a judge's question, by the name of the fence."""
    found = {}
    for begin in TAG.finditer(text):
        end = text.index(f"\nEND {begin[1]} {begin[2]}", begin.end())
        found[begin[1]] = text[begin.end() + 1 : end]
    return found


def nonce_in(text: str) -> str:
    """The nonce that the question asks for, which stands after the last fence."""
    return NONCE.findall(text)[-1]


def graded(text: str, score: int) -> str:
    return json.dumps({"nonce": nonce_in(text), "reason": "As the rubric says.", "score": score})


def preferring(text: str, winner: str) -> str:
    return json.dumps({"nonce": nonce_in(text), "reason": "As the rubric says.", "winner": winner})


class Models:
    """What `say(model, text)` says, over HTTP; counts the requests of each model.

    A judge's question is told by its fences, whatever model is asked.
    """

    def __init__(self, say: Callable[[str, str], str], *, finish_reason: str = "stop") -> None:
        self.say = say
        self._finish_reason = finish_reason
        self.n_requests: dict[str, int] = {}
        self.bodies: list[dict[str, Any]] = []

    @property
    def route(self) -> tuple[str, str, Respond]:
        return ("POST", "/v1/chat/completions", self._respond)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        model, text = body["model"], body["messages"][-1]["content"]
        self.n_requests[model] = self.n_requests.get(model, 0) + 1
        message = {"role": "assistant", "content": self.say(model, text)}
        return web.json_response(
            {
                "id": "r1",
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": self._finish_reason}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
            }
        )


def say(model: str, text: str) -> str:
    """The arms answer with their names; the judge finds `sim-small` good, and prefers it."""
    shown = answers_in(text)
    if model != "sim-large":
        return f"I am {model}."
    if "ANSWER" in shown:
        return graded(text, 4 if "sim-small" in shown["ANSWER"] else 2)
    return preferring(text, "A" if "sim-small" in shown["ANSWER A"] else "B")
