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
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from workbench.errors import ConfigError
from workbench.settings import Secret, secret
from workbench.storage import read_bytes, write_bytes

PASSWORD_VARIABLE = "WORKBENCH_KEY_FILE_PASSWORD"  # noqa: S105 - the variable's name, not a password

_FORMAT = b"workbench-keys-1"
_SALT_BYTES = 16
_MAX_BYTES = 2**20
_SCRYPT = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
"""About 0.1 s and 32 MB for each guess."""


def write_keys(path: Path, keys: Mapping[str, Secret], password: Secret | None = None) -> None:
    """Encrypt `keys`, named by their variables, into a file that only its owner can read (mode 0600).

    Args:
        password: None: the value of `WORKBENCH_KEY_FILE_PASSWORD`.
    Raises:
        ConfigError: there is no password, or `path` is in a git repository.
        StorageError: it cannot be written.
    """
    for folder in path.absolute().parents:
        if (folder / ".git").exists():
            raise ConfigError(f"{path} is in the repository {folder}; keep keys outside, even encrypted ones")
    salt = os.urandom(_SALT_BYTES)
    named = json.dumps({name: key.get_secret_value() for name, key in keys.items()})
    token = _fernet(_password(password, path), salt).encrypt(named.encode())
    write_bytes(path, b"\n".join((_FORMAT, base64.b64encode(salt), token)))
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def read_keys(path: Path, password: Secret | None = None) -> dict[str, Secret]:
    """The keys in `path` by their names.

    Args:
        password: None: the value of `WORKBENCH_KEY_FILE_PASSWORD`.
    Raises:
        ConfigError: others can read the file, it is no key file, or the password is not its password.
        StorageError: there is no such file.
    """
    content = read_bytes(path, purpose="key file", max_bytes=_MAX_BYTES)
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} is open to others on this machine; make it yours with: chmod 600 {path}")
    parts = content.split(b"\n")
    if len(parts) != 3 or parts[0] != _FORMAT:
        raise ConfigError(f"{path} is no key file of the workbench; write it anew")
    problem = f"{path} does not open: the password in {PASSWORD_VARIABLE} is another one, or it is damaged"
    try:
        named = _fernet(_password(password, path), base64.b64decode(parts[1])).decrypt(parts[2])
    except (InvalidToken, ValueError):
        raise ConfigError(problem) from None
    return {name: Secret(key) for name, key in json.loads(named).items()}


def _password(password: Secret | None, path: Path) -> Secret:
    found = password or secret(PASSWORD_VARIABLE)
    if found is None:
        raise ConfigError(f"{path} is encrypted; put its password into {PASSWORD_VARIABLE}")
    return found


def _fernet(password: Secret, salt: bytes) -> Fernet:
    derived = hashlib.scrypt(password.get_secret_value().encode(), salt=salt, **_SCRYPT)
    return Fernet(base64.urlsafe_b64encode(derived))
