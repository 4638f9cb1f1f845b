"""Keys in an encrypted file, opened by a password from the environment. Owns cryptography.

The file is a line that names its format, a line of salt, and a Fernet token of a JSON object from names of
variables to keys. Fernet's key is derived from the password by scrypt (RFC 7914).
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from workbench.errors import ConfigError, StorageError
from workbench.settings import Secret, secret
from workbench.storage import locked, read_bytes, write_bytes

PASSWORD_VARIABLE = "WORKBENCH_KEY_FILE_PASSWORD"  # noqa: S105 - the variable's name, not a password

_FORMAT = b"workbench-keys-1"
_SALT_BYTES = 16
_MAX_BYTES = 2**20
_PATIENCE_S = 10.0
_SCRYPT = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
"""About 0.1 s and 32 MB for each guess."""


def write_keys(path: Path, keys: Mapping[str, Secret], password: Secret | None = None) -> None:
    """Encrypt `keys`, named by their variables, into a file that only its owner can read (mode 0600).

    Folders that are missing are made, for their owner alone (mode 0700).

    Args:
        password: None: the value of `WORKBENCH_KEY_FILE_PASSWORD`.
    Raises:
        ConfigError: there is no password, or `path` is in a git repository or where others can replace it.
        StorageError: it cannot be written.
    """
    check_place(path)
    write_bytes(path, _sealed(keys, _password(password, path)))
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def put_key(path: Path, name: str, key: Secret, password: Secret | None = None) -> None:
    """Keep `key` under `name` beside the keys that `path` has, in the place of one of that name.

    Raises:
        ConfigError, StorageError: as `read_keys` of a file that is there, and `write_keys`; it is as it was.
    """
    check_place(path)  # before the lock, which would make the folder
    with _alone_at(path):
        kept = read_keys(path, password) if path.exists() else {}
        write_keys(path, kept | {name: key}, password)


def drop_key(path: Path, name: str, password: Secret | None = None) -> None:
    """Delete the key `name` from `path`.

    Raises:
        ConfigError, StorageError: as `put_key`.
    """
    check_place(path)
    with _alone_at(path):
        kept = read_keys(path, password)
        write_keys(path, {other: key for other, key in kept.items() if other != name}, password)


def read_keys(path: Path, password: Secret | None = None) -> dict[str, Secret]:
    """The keys in `path` by their names.

    Args:
        password: None: the value of `WORKBENCH_KEY_FILE_PASSWORD`.
    Raises:
        ConfigError: others can read the file, it is no key file, or the password is not its password.
        StorageError: there is no such file.
    """
    if not path.exists():
        raise StorageError(f"there is no key file {path}; make it with: workbench keys set PROVIDER --file")
    content = read_bytes(path, purpose="key file", max_bytes=_MAX_BYTES)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} is open to others on this machine; make it yours with: chmod 600 {path}")
    parts = content.split(b"\n")
    if len(parts) != 3 or parts[0] != _FORMAT:
        raise ConfigError(f"{path} is no key file of the workbench; move it away and set the keys anew")
    opened = _opened(parts[1], parts[2], _password(password, path))
    if opened is None:
        raise ConfigError(
            f"{path} does not open: the password is another one than {PASSWORD_VARIABLE} or the prompt was "
            "given, or the file is damaged; give its password, or move it away and set the keys anew"
        )
    return opened


def check_place(path: Path) -> None:
    """Refuse a place where keys do not stay private, before anything is typed or written.

    Raises:
        ConfigError: `path` is in a repository, or in a folder where others can put another file in its place.
    """
    for folder in (path.parent.resolve() / path.name).parents:
        if (folder / ".git").exists():
            raise ConfigError(
                f"{path} is in the repository {folder}, from which keys get published, even encrypted ones; "
                "name a file outside of it in WORKBENCH_KEY_FILE, such as ~/.config/workbench/keys"
            )
    if os.name != "posix" or not path.parent.is_dir():
        return
    mode = path.parent.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise ConfigError(
            f"others can replace files in {path.parent}; make it yours with: chmod 700 {path.parent}"
        )


def _alone_at(path: Path) -> AbstractContextManager[None]:
    """Two commands at one time would each write the file without the other's key."""
    busy = f"another process is writing {path}; try again when it is done"
    return locked(path.with_name(f".{path.name}.lock"), wait_s=_PATIENCE_S, busy=busy)


def _sealed(keys: Mapping[str, Secret], password: Secret) -> bytes:
    """The file's content. A function of its own, so that no frame of a failed write has the keys in it."""
    salt = os.urandom(_SALT_BYTES)
    named = json.dumps({name: key.get_secret_value() for name, key in keys.items()})
    token = _fernet(password, salt).encrypt(named.encode())
    return b"\n".join((_FORMAT, base64.b64encode(salt), token))


def _opened(salt: bytes, token: bytes, password: Secret) -> dict[str, Secret] | None:
    """The keys; None: it is another password's file, or damaged."""
    try:
        named = _fernet(password, base64.b64decode(salt)).decrypt(token)
    except (InvalidToken, ValueError):
        return None
    return {name: Secret(key) for name, key in json.loads(named).items()}


def _password(password: Secret | None, path: Path) -> Secret:
    found = password or secret(PASSWORD_VARIABLE)
    if found is None:
        raise ConfigError(f"{path} is encrypted; put its password into {PASSWORD_VARIABLE}")
    return found


def _fernet(password: Secret, salt: bytes) -> Fernet:
    derived = hashlib.scrypt(password.get_secret_value().encode(), salt=salt, **_SCRYPT)
    return Fernet(base64.urlsafe_b64encode(derived))
