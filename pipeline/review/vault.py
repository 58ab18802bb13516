"""The vault: texts, encrypted with a key of their author. Where that key is gone, the text is."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import bindparam, delete, insert, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.tables import author_keys, decisions, outbox, posts, verdicts
from sluicegate.schemas import Post, content_hash, encode

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NONCE = 12
_SEALED = select(posts.c.body, posts.c.author_ref).where(posts.c.post_key == bindparam("key"))
_KEY = (
    select(author_keys.c.secret)
    .where(author_keys.c.author_ref == bindparam("ref"))
    .with_for_update(read=True)
)


def digest(*parts: object) -> str:
    """Hexadecimal SHA-256 of some values, each apart from the next."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def post_key(tenant: str, post_id: str, revision: int, content: str) -> str:
    """What one content of one post is called in the store."""
    return digest("post", tenant, post_id, revision, content)


def author_ref(tenant: str, author_id: str | None) -> str:
    """What an author is called in the store. Posts of a tenant without one have one between them."""
    return digest("nobody", tenant) if author_id is None else digest("author", tenant, author_id)


class TextVault:
    """Keeps posts encrypted. Stateless but for the secret that wraps authors' keys.

    Args:
        secret: The secret of ``review.key``; None leaves authors' keys as they are.
    """

    def __init__(self, secret: str | None) -> None:
        self._wrap = None
        if secret is not None:
            derive = HKDF(SHA256(), 32, salt=None, info=b"sluicegate review: authors' keys")
            self._wrap = AESGCM(derive.derive(secret.encode()))

    def seal(self, connection: Connection, post: Post) -> tuple[str, str, bytes] | None:
        """Encrypt a post: its key, its author's name in the store, and the bytes; None if the author was erased."""
        key = post_key(post.tenant, post.id, post.revision, content_hash(post))
        ref = author_ref(post.tenant, post.author_id)
        secret = self._secret(connection, ref, make=True)
        if secret is None:
            return None
        nonce = secrets.token_bytes(_NONCE)
        return key, ref, nonce + AESGCM(secret).encrypt(nonce, encode(post), key.encode())

    def open(self, connection: Connection, key: str) -> Post | None:
        """The post of that key; None where its text is gone."""
        row = connection.execute(_SEALED, {"key": key}).first()
        secret = None if row is None else self._secret(connection, row.author_ref, make=False)
        if row is None or secret is None:
            return None
        try:
            plain = AESGCM(secret).decrypt(row.body[:_NONCE], row.body[_NONCE:], key.encode())
        except InvalidTag as error:
            raise ReviewError("a text in the store was changed; restore the store from a backup") from error
        return Post.model_validate_json(plain)

    def erase(self, connection: Connection, tenant: str, author_id: str) -> int:
        """Take away an author's key and texts, for good, and what quotes them. How many texts there were."""
        ref = author_ref(tenant, author_id)
        gone = {"secret": null(), "erased_at": time.time()}
        changed = connection.execute(
            update(author_keys).where(author_keys.c.author_ref == ref).values(gone)
        ).rowcount
        if not changed:
            try:
                with connection.begin_nested():
                    connection.execute(insert(author_keys).values(author_ref=ref, **gone))
            except IntegrityError:  # a first record of the author came meanwhile
                connection.execute(update(author_keys).where(author_keys.c.author_ref == ref).values(gone))
        texts = connection.execute(delete(posts).where(posts.c.author_ref == ref)).rowcount
        for row in connection.execute(
            select(verdicts.c.verdict_id, verdicts.c.body).where(verdicts.c.author_ref == ref)
        ).all():
            # The model's reason is text about the text, and may quote it.
            body = orjson.loads(row.body) | {"reason": None, "author_id": None}
            connection.execute(
                update(verdicts)
                .where(verdicts.c.verdict_id == row.verdict_id)
                .values(body=orjson.dumps(body).decode())
            )
        theirs = select(verdicts.c.case_id).where(verdicts.c.author_ref == ref)
        about = or_(decisions.c.case_id.in_(theirs), decisions.c.author_ref == ref)
        connection.execute(update(decisions).where(about).values(reason=None))
        connection.execute(delete(outbox).where(outbox.c.author_ref == ref, outbox.c.kind == "feedback"))
        for row in connection.execute(
            select(outbox.c.number, outbox.c.value).where(
                outbox.c.author_ref == ref, outbox.c.value.is_not(None)
            )
        ).all():  # what was decided still goes out, without the author's name
            value = orjson.dumps(orjson.loads(row.value) | {"author_id": None})
            connection.execute(update(outbox).where(outbox.c.number == row.number).values(value=value))
        return texts

    def erased(self, connection: Connection, ref: str) -> bool:
        """Whether an author was erased. Until the transaction ends, nobody erases the author meanwhile."""
        return self._secret(connection, ref, make=True) is None

    def require_key(self, connection: Connection) -> None:
        """See that the secret is the one that a store was made with.

        Raises:
            ReviewError: It is another one, or one is missing.
        """
        row = connection.execute(
            select(author_keys.c.author_ref, author_keys.c.secret)
            .where(author_keys.c.secret.is_not(None))
            .limit(1)
        ).first()
        if row is not None:
            self._unwrapped(row.secret, row.author_ref)

    def _secret(self, connection: Connection, ref: str, *, make: bool) -> bytes | None:
        # An erasure waits for whoever has read the key, and takes away what they kept, too.
        row = connection.execute(_KEY, {"ref": ref}).first()
        if row is not None:
            return None if row.secret is None else self._unwrapped(row.secret, ref)
        if not make:
            return None
        secret = AESGCM.generate_key(256)
        connection.execute(insert(author_keys).values(author_ref=ref, secret=self._wrapped(secret, ref)))
        return secret

    def _wrapped(self, secret: bytes, ref: str) -> bytes:
        if self._wrap is None:
            return secret
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._wrap.encrypt(nonce, secret, ref.encode())

    def _unwrapped(self, stored: bytes, ref: str) -> bytes:
        if self._wrap is None:
            if len(stored) != 32:
                raise ReviewError("the store was made with a review.key; give the same one")
            return stored
        try:
            return self._wrap.decrypt(stored[:_NONCE], stored[_NONCE:], ref.encode())
        except InvalidTag as error:
            raise ReviewError(
                "review.key is not the one that this store was made with; give that one"
            ) from error
