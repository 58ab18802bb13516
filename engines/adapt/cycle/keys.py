"""Authors' keys: every text of the cycle is encrypted with the key of its author. Where that key is gone, the text is.

All keys and the secret that names are hashed with stand in one file that only its owner may read. Whoever copies the
texts without it has nothing. A backup of this file keeps what was erased: back it up for as long as an erasure may take.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

_NONCE: Final = 12
_BYTES: Final = 32


class AuthorKeys:
    """The keys of one cycle. One process at a time may change them.

    Args:
        path: The file; made with a new secret where it is missing.

    Raises:
        CycleError: It is no such file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            document = orjson.loads(path.read_bytes()) if path.exists() else None
            secret = b64decode(document["secret"]) if document else secrets.token_bytes(_BYTES)
            stored = document["authors"] if document else {}
            self._keys = {ref: None if key is None else b64decode(key) for ref, key in stored.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CycleError(f"{path} holds no authors' keys; restore it from a backup") from error
        self._secret = secret
        if document is None:
            self.save()

    def author(self, tenant: str, author_id: str | None) -> str:
        """What an author is called in the cycle: nobody can tell the name from it without the secret.

        Posts of a tenant that name no author have one key between them.
        """
        return self.mac("nobody", tenant) if author_id is None else self.mac("author", tenant, author_id)

    def mac(self, *parts: str | None) -> str:
        """A name for some values, keyed: equal values have equal names, and nobody can try values without the secret."""
        return hmac.new(self._secret, orjson.dumps(parts), hashlib.sha256).hexdigest()

    def seal(self, author: str, name: str, plain: bytes) -> str | None:
        """Encrypt a text; None if the author was erased.

        Args:
            author: From :meth:`author`.
            name: What the text belongs to. It opens for the same name alone.
            plain: The text.
        """
        if author not in self._keys:
            self._keys[author] = AESGCM.generate_key(8 * _BYTES)
        key = self._keys[author]
        if key is None:
            return None
        nonce = secrets.token_bytes(_NONCE)
        return b64encode(nonce + AESGCM(key).encrypt(nonce, plain, name.encode())).decode()

    def open(self, author: str, name: str, sealed: str | None) -> bytes | None:
        """The text; None where it is gone.

        Raises:
            CycleError: It was changed.
        """
        key = self._keys.get(author)
        if key is None or sealed is None:
            return None
        try:
            raw = b64decode(sealed, validate=True)
            return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise CycleError(f"the text of {name} was changed; restore its file from a backup") from error

    def erase(self, author: str) -> bool:
        """Take away an author's key for good, and refuse what comes of that author later. False if it was gone already."""
        if author in self._keys and self._keys[author] is None:
            return False
        self._keys[author] = None
        self.save()
        return True

    def is_erased(self, author: str) -> bool:
        """Whether an author was erased."""
        return author in self._keys and self._keys[author] is None

    def save(self) -> None:
        """Write the file, so that it survives a power cut."""
        stored = {
            ref: None if key is None else b64encode(key).decode() for ref, key in sorted(self._keys.items())
        }
        document = {"secret": b64encode(self._secret).decode(), "authors": stored}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path, durable=True) as stream:
                os.fchmod(stream.fileno(), 0o600)
                stream.write(orjson.dumps(document))
        except OSError as error:
            raise CycleError(
                f"{self._path} cannot be written ({error.strerror}); check your rights"
            ) from error


def signed(content: bytes, pem: bytes) -> str:
    """An Ed25519 signature in base64.

    Raises:
        CycleError: It is no such key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise CycleError(
            "the key is no unencrypted Ed25519 key in PEM; `openssl genpkey -algorithm ed25519` makes one"
        )
    return b64encode(key.sign(content)).decode()
