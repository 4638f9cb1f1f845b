"""The report of an experiment: one HTML file that needs nothing else and runs nothing; and its parts."""

from workbench.report.page import html, parts
from workbench.report.parts import Picture, Section

__all__ = ["Picture", "Section", "html", "parts"]
