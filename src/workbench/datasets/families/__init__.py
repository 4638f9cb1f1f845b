"""The six families of embedded prompts; each computes the answer of every problem it draws."""

from collections.abc import Mapping

from workbench.datasets.families import arithmetic, conversion, extraction, logic, lookup, strings
from workbench.datasets.families.problem import Problem, Template

FAMILIES: Mapping[str, tuple[Template, ...]] = {
    "arithmetic": arithmetic.TEMPLATES,
    "conversion": conversion.TEMPLATES,
    "strings": strings.TEMPLATES,
    "lookup": lookup.TEMPLATES,
    "logic": logic.TEMPLATES,
    "extraction": extraction.TEMPLATES,
}
"""Task -> its templates."""

__all__ = ["FAMILIES", "Problem", "Template"]
