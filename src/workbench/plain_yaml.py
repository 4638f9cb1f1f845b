"""A file that a person writes: YAML that can neither run anything nor grow when it is read."""

from pathlib import Path
from typing import Any

import yaml

from workbench.errors import ConfigError, DataError
from workbench.redaction import holds_secret
from workbench.storage import read_bytes

_MAX_BYTES = 1_000_000


def read_yaml(path: Path, *, purpose: str) -> object:
    """What a file says: no tags, no anchors, no repeated keys, no key of a provider, at most 1 MB.

    Raises:
        StorageError: there is no such file; `purpose` says what it was wanted for.
        ConfigError: it is too large, not plain YAML, or has what looks like a key.
    """
    try:
        content = read_bytes(path, purpose=purpose, max_bytes=_MAX_BYTES)
    except DataError as exc:
        raise ConfigError(str(exc)) from exc
    if holds_secret(content.decode(errors="replace")):  # before a parser quotes it in an error
        raise ConfigError(
            f"{path} holds what looks like a key, and would be kept in plain text; "
            "leave it out and set the provider's key in the environment"
        )
    try:
        return yaml.load(content, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader that allows less
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"{path} is not plain YAML: {' '.join(str(exc).split())}") from exc


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors (which can grow a small file to gigabytes) and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases (& and *) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
        return super().construct_mapping(node, deep)
