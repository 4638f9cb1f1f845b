"""The client and the routers behind an OpenAI-compatible API, with keys for callers and a log to learn from.

| question | module |
|---|---|
| what a file of a server may say | `config` |
| what a server opens and closes, and when | `server` |
| which paths there are | `app` |
| what every request passes first | `guard` |
| a protocol over HTTP | `endpoint`; its words: `chat_completions` |
| what passes between them | `exchange` |
| what callers may name, and what is decided | `targets`, `decisions` |
| who may call, and what it may cost | `tokens`, `virtual_keys`, `admin_tokens`, `admin` |
| from a request to an answer | `gateway` |
| what is kept | `database`, `outcome_log` |
"""
