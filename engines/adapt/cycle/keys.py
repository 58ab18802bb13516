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
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.engines.files import only_one, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NONCE: Final = 12
_BYTES: Final = 32


class AuthorKeys:
    """The keys of one cycle. Several processes may use them: who is erased in the file is erased for all of them.

    Args:
        path: The file; made with a new secret where it is missing.

    Raises:
        CycleError: It is no such file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._held = 0
        self._secret = b""
        self._keys: dict[str, bytes | None] = {}
        if path.exists():
            self.refresh()
        else:
            self.save()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody else change the keys meanwhile, and begin with what the file says now.

        Only for short work: an erasure waits for it.

        Raises:
            CycleError: The file is no such file, or cannot be locked.
        """
        with ExitStack() as stack:
            if not self._held:
                try:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(only_one(self._path.with_suffix(".lock"), wait=True))
                except OSError as error:
                    raise self._unwritable(error) from error
                self.refresh()
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1

    def refresh(self) -> None:
        """Take over what others have written since: who was erased, and keys of new authors.

        Raises:
            CycleError: The file is no such file, or has another secret.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return
        stamp = stat.st_mtime_ns, stat.st_ino
        if stamp == self._stamp:
            return
        try:
            document = orjson.loads(self._path.read_bytes())
            secret = b64decode(document["secret"])
            stored = {
                ref: None if key is None else b64decode(key) for ref, key in document["authors"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CycleError(f"{self._path} holds no authors' keys; restore it from a backup") from error
        if self._secret not in (b"", secret):
            raise CycleError(f"{self._path} was replaced meanwhile; give the same command again")
        self._secret, self._stamp = secret, stamp
        self._keys = {**self._keys, **stored}

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
        with self.held():
            if self.is_erased(author):
                return False
            self._keys[author] = None
            self.save()
        return True

    def is_erased(self, author: str) -> bool:
        """Whether an author was erased."""
        return author in self._keys and self._keys[author] is None

    def save(self) -> None:
        """Write the file, so that it survives a power cut. Who was erased in it meanwhile stays erased."""
        with self.held():
            self._secret = self._secret or secrets.token_bytes(_BYTES)
            stored = {
                ref: None if key is None else b64encode(key).decode()
                for ref, key in sorted(self._keys.items())
            }
            document = {"secret": b64encode(self._secret).decode(), "authors": stored}
            try:
                with replacing(self._path, durable=True) as stream:
                    os.fchmod(stream.fileno(), 0o600)
                    stream.write(orjson.dumps(document))
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> CycleError:
        return CycleError(f"{self._path} cannot be written ({error.strerror}); check your rights")


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
