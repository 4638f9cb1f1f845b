"""What models exist, what they charge, how much they can read and what they can do, as data.

The models that come with the package are in `data/models.csv`; a file of the user's own, with the same
columns, goes before it. A price has the page it was read from and the day from which it holds; the cost
of a call is computed from the price of its day and carries that price's date into the outcome table.
"""

from workbench.catalog.models import CAPABILITIES, Catalog, ModelSpec, today
from workbench.catalog.price import Price
from workbench.catalog.table import default_catalog, read_catalog
from workbench.catalog.token_bound import token_bound

__all__ = [
    "CAPABILITIES",
    "Catalog",
    "ModelSpec",
    "Price",
    "default_catalog",
    "read_catalog",
    "today",
    "token_bound",
]
