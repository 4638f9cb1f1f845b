"""What a person at a terminal gets of a run's answers: scored anew, or written out to be labelled."""

from pathlib import Path

import yaml

from workbench import terminal
from workbench.errors import ConfigError
from workbench.experiment.labels import answers_to_label, write_sheet
from workbench.experiment.rescoring import rescore, run_table
from workbench.experiment.spec import load_spec
from workbench.experiment.wording import count
from workbench.scoring import read_options
from workbench.settings import Settings


async def score(
    spec_path: Path, *, scorer: str, column: str | None = None, budget_usd: float | None = None
) -> None:
    """Score the answers of a run by another scorer, and print what comes of it. No arm is asked again.

    `scorer` is a name, or a mapping as a spec has it, as YAML.
    """
    console, spec = terminal.console(), load_spec(spec_path)
    try:
        options = read_options(yaml.safe_load(scorer))
    except yaml.YAMLError as exc:
        raise ConfigError(f"--scorer {scorer!r} is not YAML: {' '.join(str(exc).split())}") from exc
    done = await rescore(spec, options, settings=Settings(), column=column, budget_usd=budget_usd)
    console.print(f"\nscored by {options}", soft_wrap=True)
    console.print(terminal.result_table(done.analysis))
    console.print()
    for line in (*terminal.verdicts(done.analysis), *(f"note: {note}" for note in done.notes)):
        console.print(line, soft_wrap=True)
    console.print(f"\n{done.path}, column {done.column}", soft_wrap=True)


def label(spec_path: Path, *, n: int, sheet: Path, seed: int = 0) -> None:
    """Write a sheet of answers to be labelled, in random order and without a word of their arms.

    Raises:
        ConfigError: there is such a file, which may have labels in it.
    """
    if sheet.exists():
        raise ConfigError(f"{sheet} is there already, and may have labels in it; name another with --sheet")
    spec = load_spec(spec_path)
    _, table = run_table(spec, Settings())
    answers = answers_to_label(table, n=n, seed=seed)
    write_sheet(sheet, answers)
    console = terminal.console()
    console.print(f"{count(len(answers), 'answer')} in {sheet}", soft_wrap=True)
    console.print(
        "Write a number from 0 to 1, or wrong, partly or right, under `label`; then:\n"
        f"  workbench score {spec_path} --scorer '{{kind: human, labels: {sheet.resolve()}}}'",
        soft_wrap=True,
    )
