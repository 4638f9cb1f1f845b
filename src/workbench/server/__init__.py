"""The client and the routers behind an OpenAI-compatible API, with keys for callers and a log to learn from.

| question | module |
|---|---|
| what a file of a server may say | `config` |
| what a server opens and closes, and when | `server`; what outlives a change of the file: `foundation` |
| how several work as one | `workers`, `worker`, `shared_state`, `shared_budget`, `merged_metrics` |
| which paths there are | `app` |
| what every request passes first | `guard` |
| a protocol over HTTP | `endpoint`; its words: `chat_completions` |
| what passes between them | `exchange` |
| what callers may name, and what is decided | `targets`, `decisions` |
| routers of MLflow: fetched, asked about, kept for a start | `registered`, `alias`, `router_shelf` |
| who may call, and what it may cost | `tokens`, `virtual_keys`, `admin_tokens`, `admin` |
| from a request to an answer | `gateway` |
| what is kept, and what it came to | `database`, `outcome_log`, `outcome_journal`, `usage` |
| what those who run it see | `health`, `metrics`, `request_log` |
"""
