"""Ask a server for models, an answer and a stream, with OpenAI's own client, and read what was decided.

WORKBENCH_URL=http://localhost:8000/v1 WORKBENCH_KEY=wb-... python examples/server/ask.py [MODEL]
"""

# ruff: noqa: T201 - an example says what it got

import os
import sys

from openai import NotFoundError, OpenAI

model = sys.argv[1] if len(sys.argv) > 1 else "auto"
messages = [{"role": "user", "content": "Name a prime over 100."}]

with OpenAI(base_url=os.environ["WORKBENCH_URL"], api_key=os.environ["WORKBENCH_KEY"]) as client:
    print("models", [one.id for one in client.models.list()])

    answer = client.chat.completions.with_raw_response.create(model=model, messages=messages)
    print("answered by", answer.headers["x-workbench-answered-by"])
    print("answer", answer.parse().choices[0].message.content)

    stream = client.chat.completions.create(model=model, messages=messages, stream=True)
    print("streamed", "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))

    request_id = answer.headers["x-request-id"]
    scored = client.post("/feedback", cast_to=dict, body={"request_id": request_id, "quality": 1.0})
    print("scored", scored["quality"])

    try:
        client.chat.completions.create(model="none/none", messages=messages)
    except NotFoundError as exc:
        print("refused", exc.status_code, exc.code)
