"""A model behind the server that calls tools, keeps to schemas, and takes its time."""

import asyncio
import json

from aiohttp import web


class Upstream:
    """A model of OpenAI's protocol; `left` is set when a caller hangs up in the middle of a stream."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.left = asyncio.Event()
        self.n_words = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if body["model"] == "slow":
            return await self._slowly(request)
        message, finish = said_to(body)
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
            return web.json_response({"id": "c", "model": "m", "choices": [choice], "usage": usage})
        response = await begun(request)
        for number, call in enumerate(message.get("tool_calls", ())):
            call["index"] = number
        for delta, why in ((message, None), ({}, finish)):
            await response.write(event({"index": 0, "delta": delta, "finish_reason": why}, usage))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _slowly(self, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        try:
            for _ in range(500):
                await response.write(
                    event({"index": 0, "delta": {"content": "word "}, "finish_reason": None}, None)
                )
                self.n_words += 1
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        return response


async def begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    return response


def event(choice: dict, usage: dict | None) -> bytes:
    return f"data: {json.dumps({'id': 'c', 'model': 'm', 'choices': [choice], 'usage': usage})}\n\n".encode()


def said_to(body: dict) -> tuple[dict, str]:
    """A call where a tool was given and not used yet, JSON where it is asked for, else what was last said."""
    last = body["messages"][-1]
    if body.get("tools") and last["role"] != "tool":
        call = {"id": "call-1", "type": "function"}
        return {"content": None, "tool_calls": [call | {"function": called()}]}, "tool_calls"
    if (wanted := body.get("response_format")) is not None:
        kind = wanted["type"]
        text = '{"number": 101, "is_prime": true}' if kind == "json_schema" else '{"any": "object"}'
        return {"content": text}, "stop"
    return {"content": f"you said {last['content']}"}, "stop"


def called() -> dict:
    return {"name": "weather", "arguments": '{"city": "Paris"}'}
