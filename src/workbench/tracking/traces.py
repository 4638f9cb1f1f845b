"""The calls that a run noted in its folder, as traces in MLflow: a span for each call and each attempt.

The traces are built whole and sent when the run is, so that a call never waits for MLflow. The id of a trace
is that of its call: sent again, it is the same trace.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from mlflow.entities import Span, SpanType, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.client import TracingClient

from workbench.experiment.traces import AttemptRecord, CallRecord, read_traces
from workbench.tracking.store import Tell

_NS_PER_MS = 1_000_000
_AT_ONCE = 50
_TRACE_ID = "tr-{call_id}"
_PREVIEW = 1000


def log_traces(folder: Path, *, uri: str, experiment_id: str, run_id: str, tell: Tell | None = None) -> int:
    """Send the traces of the run in `folder` to its MLflow experiment, as traces of `run_id`; how many.

    Raises:
        MlflowException: the store did not take them.
    """
    client = TracingClient(uri)
    records = read_traces(folder)
    n_sent = 0
    while batch := list(islice(records, _AT_ONCE)):
        if n_sent == 0 and tell is not None:
            tell("sending traces of calls")
        for record in batch:
            client.start_trace(_trace_info(record, experiment_id=experiment_id, run_id=run_id))
        client.log_spans(experiment_id, [span for record in batch for span in _spans(record)])
        n_sent += len(batch)
    return n_sent


def _trace_info(record: CallRecord, *, experiment_id: str, run_id: str) -> TraceInfo:
    asked, answered = _inputs(record), _outputs(record)
    return TraceInfo(
        trace_id=_TRACE_ID.format(call_id=record.call_id),
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=record.started_ns // _NS_PER_MS,
        execution_duration=(record.ended_ns - record.started_ns) // _NS_PER_MS,
        state=TraceState.ERROR if record.error else TraceState.OK,
        request_preview=_preview(record) or None,
        response_preview=(record.answer or record.error or "")[:_PREVIEW] or None,
        client_request_id=record.call_id,
        trace_metadata=_known(
            {
                "mlflow.sourceRun": run_id,
                "mlflow.traceInputs": json.dumps(asked)[:_PREVIEW],
                "mlflow.traceOutputs": json.dumps(answered)[:_PREVIEW],
                "mlflow.trace.tokenUsage": _as_json(_usage(record)),
                "mlflow.trace.cost": _as_json(_cost(record.cost_usd)),
            }
        ),
        tags=_known(
            {
                "mlflow.traceName": f"chat {record.model_id}",
                "prompt_id": record.prompt_id,
                "model": record.answered_by or record.model_id,
                "error": record.error,
            }
        ),
    )


def _spans(record: CallRecord) -> Iterator[Span]:
    root_id = record.call_id[:16]
    attributes = {
        "mlflow.spanType": SpanType.CHAT_MODEL,
        "mlflow.spanInputs": _inputs(record),
        "mlflow.spanOutputs": _outputs(record),
        "mlflow.chat.tokenUsage": _usage(record),
        "mlflow.llm.cost": _cost(record.cost_usd),
        "mlflow.llm.model": (record.answered_by or record.model_id).partition("/")[2],
        "mlflow.llm.provider": (record.answered_by or record.model_id).partition("/")[0],
        "workbench.prompt_id": record.prompt_id,
        "workbench.n_attempts": len(record.attempts),
        "workbench.is_cached": record.is_cached,
        "error.type": record.error,
    }
    yield _span(
        record,
        f"chat {record.model_id}",
        span_id=root_id,
        times=(record.started_ns, record.ended_ns),
        attributes=attributes,
    )
    for attempt in record.attempts:
        yield _span(
            record,
            f"attempt {attempt.number}: {attempt.model_id}",
            span_id=f"{int(root_id, 16) ^ attempt.number:016x}",
            parent_id=root_id,
            # Clocks differ by microseconds, and a child outside its parent is drawn as an error.
            times=(max(record.started_ns, attempt.started_ns), min(record.ended_ns, attempt.ended_ns)),
            attributes=_attempt(attempt),
        )


def _attempt(attempt: AttemptRecord) -> dict[str, object]:
    return {
        "mlflow.spanType": SpanType.TASK,
        "workbench.account": attempt.account or None,
        "workbench.cost_usd": attempt.cost_usd,
        "workbench.input_tokens": attempt.input_tokens,
        "workbench.output_tokens": attempt.output_tokens,
        "workbench.first_token_s": attempt.first_token_s,
        "workbench.fallback_reason": attempt.fallback_reason,
        "gen_ai.response.id": attempt.request_id,
        "http.response.status_code": attempt.status,
        "error.type": attempt.error,
    }


def _span(
    record: CallRecord,
    name: str,
    *,
    span_id: str,
    times: tuple[int, int],
    attributes: Mapping[str, object],
    parent_id: str | None = None,
) -> Span:
    trace_id = _TRACE_ID.format(call_id=record.call_id)
    given = {name: value for name, value in attributes.items() if value is not None}
    return Span.from_dict(
        {
            "name": name,
            "context": {"trace_id": f"0x{record.call_id}", "span_id": f"0x{span_id}"},
            "parent_id": None if parent_id is None else f"0x{parent_id}",
            "start_time": times[0],
            "end_time": times[1],
            "status_code": "ERROR" if "error.type" in given else "OK",
            "status_message": str(given.get("error.type", "")),
            # MLflow keeps every attribute as JSON.
            "attributes": {
                key: json.dumps(value) for key, value in (given | {"mlflow.traceRequestId": trace_id}).items()
            },
            "events": [],
        }
    )


def _inputs(record: CallRecord) -> dict[str, object]:
    """The conversation, where it was to be kept, in the form that MLflow's pages draw as one."""
    if record.messages is None:
        return {"prompt_id": record.prompt_id, "model": record.model_id}
    return {
        "model": record.model_id,
        "messages": [{"role": role, "content": text} for role, text in record.messages],
    }


def _outputs(record: CallRecord) -> dict[str, object]:
    if record.answer is None:
        ended = {"answered_by": record.answered_by, "finish_reason": record.finish_reason}
        return {"error": record.error} if record.error else dict(ended)
    message = {"role": "assistant", "content": record.answer}
    return {"choices": [{"index": 0, "message": message, "finish_reason": record.finish_reason}]}


def _usage(record: CallRecord) -> dict[str, int] | None:
    if record.input_tokens is None or record.output_tokens is None:
        return None
    n_in, n_out = record.input_tokens, record.output_tokens
    return {"input_tokens": n_in, "output_tokens": n_out, "total_tokens": n_in + n_out}


def _cost(cost_usd: float | None) -> dict[str, float] | None:
    return None if cost_usd is None else {"total_cost": cost_usd}


def _preview(record: CallRecord) -> str:
    if record.messages is None:
        return f"prompt {record.prompt_id}"
    return record.messages[-1][1][:_PREVIEW]


def _as_json(value: object | None) -> str | None:
    return None if value is None else json.dumps(value)


def _known(texts: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}
