"""`python -m workbench.datasets` writes the embedded prompt set anew, with the same bytes each time."""

from workbench.datasets.embedded import to_jsonl
from workbench.datasets.generate import generate
from workbench.settings import data_dir
from workbench.storage import write_text

if __name__ == "__main__":
    write_text(data_dir() / "tasks.jsonl", to_jsonl(generate()))
