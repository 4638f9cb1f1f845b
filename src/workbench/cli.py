"""The command line: parse, call, print. A command's module is imported when the command is called."""

import _thread
import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from workbench.errors import ConfigError, WorkbenchError

T = TypeVar("T")

_PATIENCE_S = 2.0
"""How long work that is told to stop may take to close what it opened, before it is interrupted."""

app = typer.Typer(
    help="Compare LLM providers with honest statistics, and learn which model each prompt should go to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Prompt sets and recorded benchmarks.", no_args_is_help=True)
app.add_typer(data_app, name="data")
catalog_app = typer.Typer(help="Models, their prices and limits.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")
keys_app = typer.Typer(
    help="Keys of providers, in the system's keyring or an encrypted file.", no_args_is_help=True
)
app.add_typer(keys_app, name="keys")
routers_app = typer.Typer(help="Trained routers that are registered in MLflow.", no_args_is_help=True)
app.add_typer(routers_app, name="routers")

SpecFile = Annotated[
    Path, typer.Argument(help="an experiment's YAML, such as experiments/compare_models.yaml")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="set an earlier run of this name aside and begin anew")]
Repair = Annotated[bool, typer.Option("--repair", help="set damaged lines of the journal aside and go on")]

KeyOwner = Annotated[str, typer.Argument(help="whose key, such as openai")]
Alias = Annotated[
    str | None, typer.Option(help="the account, such as OPENAI_API_KEY_2; by default the first")
]
InKeyring = Annotated[bool, typer.Option("--keyring", help="in the system's keyring")]
InFile = Annotated[bool, typer.Option("--file", help="in the file that WORKBENCH_KEY_FILE names")]


@app.command()
def demo(fresh: Fresh = False) -> None:
    """Run an A/B experiment on simulated models: no key, no network."""
    from workbench import session

    _run(session.demo(fresh=fresh))


@app.command()
def run(
    spec: SpecFile,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="NAME=VALUE for the notebook; may be repeated"),
    ] = None,
    notebook: Annotated[bool, typer.Option(help="execute the experiment's notebook headless")] = True,
    fresh: Fresh = False,
    repair: Repair = False,
) -> None:
    """Run an experiment, or go on with it, and keep its report, its notebook and its MLflow run."""
    from workbench import session

    named = _pairs(parameters or [])
    if notebook:
        session.run_notebook(spec, parameters=named, fresh=fresh, repair=repair)
    elif named:
        raise ConfigError("--parameter is for the notebook, which --no-notebook leaves out; give one of them")
    else:
        _run(session.run_in_terminal(spec, fresh=fresh, repair=repair))


@app.command()
def plan(spec: SpecFile) -> None:
    """Say what an experiment will cost, how long it takes and what it can find, before anything is spent."""
    from workbench import session

    session.show_plan(spec)


@app.command()
def train(
    spec: Annotated[Path, typer.Argument(help="a router's YAML, such as experiments/router.yaml")],
) -> None:
    """Train a router on recorded outcomes, measure it beside its baselines, and keep it in MLflow."""
    from workbench import session

    _run(session.train_in_terminal(spec))


@app.command()
def score(
    spec: SpecFile,
    scorer: Annotated[
        str, typer.Option(help="a name, or a mapping such as '{kind: numeric, relative_tolerance: 0.01}'")
    ],
    column: Annotated[str | None, typer.Option(help="its name; by default quality_ and the kind")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="the most that a judge may cost")] = None,
) -> None:
    """Score the answers of a finished run by another scorer; no arm is asked again."""
    from workbench import scoring_session

    _run(scoring_session.score(spec, scorer=scorer, column=column, budget_usd=budget_usd))


@app.command()
def label(
    spec: SpecFile,
    n: Annotated[int, typer.Option("--n", min=1, help="answers, at least")] = 50,
    sheet: Annotated[Path, typer.Option(help="the CSV file to write")] = Path("labels.csv"),
    seed: int = 0,
) -> None:
    """Write answers of a finished run as a blinded sheet for people to label."""
    from workbench import scoring_session

    scoring_session.label(spec, n=n, sheet=sheet, seed=seed)


@app.command("evaluate-routers")
def evaluate_routers(
    table: Annotated[Path, typer.Argument(help="recorded outcomes, such as outcomes.parquet")],
    folds: Annotated[
        str | None, typer.Option(help="the column with the folds; by default five are made")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON and nothing else")] = False,
    embedding: Annotated[
        str | None, typer.Option(help="minilm, or the provider/model of stored vectors; by default n-grams")
    ] = None,
    routers: Annotated[str | None, typer.Option(help="only these, such as knn,controller")] = None,
    margin: Annotated[
        float, typer.Option(help="points that an honest operating point may lose on the training folds")
    ] = 0.0,
    seed: int = 0,
) -> None:
    """Compare all routers on a recorded outcome table, each on prompts that it was not fitted on."""
    from workbench import evaluation_session

    request = evaluation_session.EvaluationRequest(
        table=table,
        folds=folds,
        embedding=embedding,
        routers=tuple(name.strip() for name in (routers or "").split(",") if name.strip()),
        margin_points=margin,
        seed=seed,
    )
    evaluation_session.evaluate_routers(request, as_json=as_json)


@app.command()
def sync(folder: Annotated[Path, typer.Argument(help="a run's folder, such as runs/compare-models")]) -> None:
    """Send a finished run to MLflow that could not be sent when it ended."""
    from workbench import session

    session.sync(folder)


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open the MLflow pages of this project's store."""
    from workbench import session

    session.open_ui(port=port)


@app.command()
def simulate(port: Annotated[int, typer.Option(min=1, max=65535)] = 8808) -> None:
    """Serve the simulated models over HTTP, for any OpenAI-compatible client."""
    from workbench.providers.simulator import serve

    _run(serve(port))


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Argument(help="a server's YAML; by default the simulated models are served")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="instead of the file's")] = None,
) -> None:
    """Serve models and routers behind an OpenAI-compatible API, with keys for callers."""
    from workbench import serve_session

    serve_session.serve(config, port=port)


@app.command("server-token")
def server_token(
    config: Annotated[Path | None, typer.Argument(help="the server's YAML, as of `serve`")] = None,
    revoke: Annotated[str | None, typer.Option(help="the id of a token that is to work no more")] = None,
) -> None:
    """Make an admin token of a server, where one was lost; or revoke one."""
    from workbench import serve_session

    made = serve_session.admin_token(config, revoked=revoke)
    typer.echo("revoked" if made is None else made)


@data_app.command("list")
def data_list() -> None:
    """List the prompt sets and benchmarks that are known, and where they are."""
    from workbench import datasets, terminal

    terminal.console().print(terminal.dataset_table(datasets.listed()))


@data_app.command("describe")
def data_describe(name: str) -> None:
    """Say what a prompt set or benchmark holds, where it comes from and under which licence."""
    from workbench import datasets, terminal

    terminal.console().print(terminal.description(datasets.describe(name)), soft_wrap=True)


@data_app.command("fetch")
def data_fetch(name: str) -> None:
    """Download a public benchmark, check it, and convert it to an outcome table."""
    from workbench import datasets, terminal

    with terminal.download(terminal.console(), name) as on_progress:
        path = _run(datasets.fetch_benchmark(name, on_progress=on_progress))
    typer.echo(path)


@catalog_app.command("list")
def catalog_list(
    provider: Annotated[str | None, typer.Option(help="only models of this one")] = None,
) -> None:
    """List the models that are known, with today's prices in US dollars per million tokens."""
    from workbench import catalog_session

    catalog_session.list_models(provider=provider)


@catalog_app.command("show")
def catalog_show(
    model: Annotated[str, typer.Argument(help="provider/model, such as openai/gpt-5")],
) -> None:
    """Say all that is known of a model, and every price it had, with sources and dates."""
    from workbench import catalog_session

    catalog_session.show_model(model)


@catalog_app.command("refresh")
def catalog_refresh(
    provider: Annotated[str | None, typer.Option(help="ask this one; or only its models of a file")] = None,
    prices: Annotated[
        str | None, typer.Option(help="URL or path of litellm's or genai-prices' public price file")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="write it into WORKBENCH_MODELS_FILE")] = False,
) -> None:
    """Say which models and prices are new, by the providers with a key or a public price file."""
    from workbench import catalog_session

    _run(catalog_session.refresh(provider=provider, prices=prices, write=write))


@catalog_app.command("check")
def catalog_check() -> None:
    """Look for prices that are missing, old, repeated, or otherwise in an installed genai-prices."""
    from workbench import catalog_session

    if not catalog_session.check():
        raise typer.Exit(1)


@keys_app.command("set")
def keys_set(
    provider: KeyOwner,
    given: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="")] = None,
    alias: Alias = None,
    keyring: InKeyring = False,
    file: InFile = False,
) -> None:
    """Keep a key, which is asked for without being shown, or read from standard input."""
    from workbench import keys_session

    store = keys_session.named_store(keyring=keyring, file=file)
    keys_session.set_key(provider, alias=alias, store=store, given=tuple(given or ()))


@keys_app.command("list")
def keys_list() -> None:
    """List the keys that are set and where they are kept; the keys themselves are not shown."""
    from workbench import keys_session

    keys_session.list_keys()


@keys_app.command("check")
def keys_check(provider: KeyOwner) -> None:
    """Ask a provider for its models with each of its keys, and say which it takes."""
    from workbench import keys_session

    if not _run(keys_session.check_keys(provider)):
        raise typer.Exit(1)


@keys_app.command("remove")
def keys_remove(
    provider: KeyOwner, alias: Alias = None, keyring: InKeyring = False, file: InFile = False
) -> None:
    """Delete a key from the keyring or the encrypted file."""
    from workbench import keys_session

    store = keys_session.named_store(keyring=keyring, file=file)
    keys_session.remove_key(provider, alias=alias, store=store)


@routers_app.command("list")
def routers_list(
    name: Annotated[str | None, typer.Argument(help="only the versions of this one")] = None,
) -> None:
    """List the registered routers, their versions and aliases."""
    from workbench import routers_session

    routers_session.list_routers(name)


@routers_app.command("alias")
def routers_alias(
    address: Annotated[str, typer.Argument(help="a version, such as router:fleet/3")],
    alias: Annotated[str, typer.Argument(help="champion, challenger, or a name of your own")],
) -> None:
    """Give a version an alias, which another version may have had until now."""
    from workbench import routers_session

    routers_session.set_alias(address, alias)


@routers_app.command("promote")
def routers_promote(
    name: Annotated[str, typer.Argument(help="the router, such as fleet")],
    table: Annotated[
        Path | None, typer.Option("--on", help="recorded outcomes of prompts that neither was fitted on")
    ] = None,
    min_gain: Annotated[
        float, typer.Option(help="points that it must gain; negative: that a cheaper one may lose")
    ] = 0.0,
    untested: Annotated[bool, typer.Option("--untested", help="without a test")] = False,
) -> None:
    """Make the challenger the champion, if it does better on recorded outcomes."""
    from workbench import routers_session

    if untested == (table is not None):
        raise ConfigError("give the outcomes to test the challenger --on, or --untested, and not both")
    if not routers_session.promote(name, table=table, min_gain_points=min_gain):
        raise typer.Exit(1)


@routers_app.command("add-model")
def routers_add_model(
    address: Annotated[str, typer.Argument(help="a controller, such as router:fleet")],
    table: Annotated[Path, typer.Argument(help="recorded outcomes of the model, such as outcomes.parquet")],
    model: Annotated[str, typer.Option(help="provider/model, as the outcomes name it")],
) -> None:
    """Teach a router one more model from 32 outcomes or more, as its next version."""
    from workbench import routers_session

    routers_session.add_model(address, table, model)


def main() -> None:
    """Entry point: our errors as one message and exit code 1, everything else with its traceback."""
    try:
        app()
    except WorkbenchError as exc:
        from workbench.experiment.wording import printable
        from workbench.redaction import masked

        told = "\n".join(map(printable, masked(str(exc)).splitlines()))
        typer.echo(f"error: {told}", err=True)
        sys.exit(1)


def _pairs(parameters: list[str]) -> dict[str, str]:
    named = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or not name:
            raise ConfigError(f"--parameter {parameter!r} is not NAME=VALUE")
        named[name] = value
    return named


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM and Ctrl-C cancel the work, which then closes what it opened."""
    signums: list[int] = []

    async def until_stopped() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        with _on_signals(signums, lambda: loop.call_soon_threadsafe(task.cancel)):
            return await task

    try:
        return asyncio.run(until_stopped())
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("stopped; what was finished is kept, and the same command goes on from there", err=True)
        sys.exit(128 + (signums or [signal.SIGINT])[0])


@contextmanager
def _on_signals(received: list[int], stop: Callable[[], object]) -> Iterator[None]:
    """While the block runs, the first SIGTERM or Ctrl-C calls `stop`, and is noted in `received`.

    A second one, or `_PATIENCE_S` without an end, interrupts what does not heed it, such as the fitting
    of a router, which gives the event loop no turn.
    """
    impatience = threading.Timer(_PATIENCE_S, _thread.interrupt_main)
    impatience.daemon = True

    def on_signal(signum: int, frame: object) -> None:
        received.append(signum)
        if len(received) > 1:
            raise KeyboardInterrupt
        impatience.start()
        stop()

    before = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        impatience.cancel()
        for signum, handler in before.items():
            signal.signal(signum, handler)
