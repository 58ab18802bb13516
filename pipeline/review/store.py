"""The store: one database, its shape, and its transactions. It alone knows which database it is."""

from __future__ import annotations

import logging
import ssl
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    exists,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.tables import cases, decisions, offsets, posts, skips, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_STATES = ("open", "adjudication")
"""States of a case that waits for a person."""
_BUSY_S = 30.0


class _Turns:
    """A lock that threads get in the order in which they asked: SQLite lets writers wait by chance."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = self._served = 0

    def __enter__(self) -> None:
        with self._changed:
            mine, self._asked = self._asked, self._asked + 1
            self._changed.wait_for(lambda: self._served == mine)

    def __exit__(self, *_exc: object) -> None:
        with self._changed:
            self._served += 1
            self._changed.notify_all()


class ReviewStore:
    """A database of the review desk. Thread-safe.

    Args:
        url: As SQLAlchemy takes it.
        busy_s: For how long SQLite waits for another process.
    """

    def __init__(self, url: str, *, busy_s: float = _BUSY_S) -> None:
        self._turns: AbstractContextManager[None] = nullcontext()
        self._file: Path | None = None
        try:
            parts = make_url(url)
            self.embedded = parts.get_backend_name() == "sqlite"
            self._engine = _sqlite(url, busy_s) if self.embedded else _postgresql(url)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise ReviewError(
                "review.store is no database that can be opened here; give sqlite:///review.db, or "
                "postgresql://user:password@host/name?sslmode=verify-full"
            ) from error
        if self.embedded:
            self._turns = _Turns()
            self._file = Path(parts.database) if parts.database else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write. It is committed at the end, and rolled back if that raises."""
        with self._turns, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: in SQLite it waits for no writer."""
        with self._engine.connect().execution_options(reads=True) as connection, connection.begin():
            yield connection

    def answers(self) -> bool:
        """Whether the database answers. One that is silent is waited for."""
        try:
            with self.reading() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def shape(self) -> Literal["none", "older", "today", "unknown"]:
        """The database's shape beside today's; ``unknown`` is another version's. It changes nothing.

        Raises:
            ReviewError: The database does not answer, or refuses.
        """
        if self._file is not None and not self._file.exists():  # asking SQLite would make it
            return "none"
        known = [one.revision for one in ScriptDirectory.from_config(_migrations()).walk_revisions()]
        try:
            with self.reading() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
        except SQLAlchemyError as error:
            raise _unopened(error) from error
        if found is None:
            return "none"
        return "today" if found == known[0] else "older" if found in known else "unknown"

    def migrate(self) -> None:
        """Bring the database to the shape of today. Safe to repeat, and while others do.

        Raises:
            ReviewError: The database does not answer, or refuses, or has the shape of a version that is not known here.
        """
        config = _migrations()
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            with self.writing() as connection:
                if not self.embedded:
                    connection.execute(text("SELECT pg_advisory_xact_lock(7205759403792)"))  # any number
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise ReviewError(
                "the store has the shape of another version of sluicegate; take that version or a newer one, "
                "or restore the store from a backup of before"
            ) from error
        except SQLAlchemyError as error:
            raise _unopened(error) from error

    def forget_read_model(self) -> tuple[int, int]:
        """Empty what the topics make again; how many open cases went, and how many stayed.

        What people did stays: a case that was decided, read once, disputed, skipped or opened again keeps its round and its
        verdicts. Their texts stay for their time, too. A case that nobody touched comes again if the topics still have it.
        """
        touched = or_(
            cases.c.state == "adjudication",
            cases.c.round > 0,
            exists().where(decisions.c.case_id == cases.c.case_id),
            exists().where(skips.c.case_id == cases.c.case_id),
        )
        with self.writing() as connection:
            gone = connection.execute(delete(cases).where(cases.c.state == "open", ~touched)).rowcount
            kept = exists().where(cases.c.case_id == verdicts.c.case_id)
            connection.execute(delete(verdicts).where(or_(verdicts.c.case_id.is_(None), ~kept)))
            connection.execute(delete(posts).where(~exists().where(verdicts.c.post_key == posts.c.post_key)))
            connection.execute(delete(offsets))
            left = connection.execute(
                select(func.count()).select_from(cases).where(cases.c.state.in_(OPEN_STATES))
            ).scalar_one()
        return gone, left

    def wipe(self) -> str | None:
        """See that what was deleted is gone from the disk, too; what may be left of it, None where nothing is.

        Raises:
            ReviewError: SQLite's log could not be emptied: somebody reads the store all the time.
        """
        if not self.embedded:
            return (
                "PostgreSQL keeps old rows, the author's key among them, until VACUUM, and its write-ahead log and backups "
                "for longer; run VACUUM, and let the backups end"
            )
        raw = self._engine.raw_connection()
        try:  # old pages stand in its log until that is emptied
            busy, *_ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            raw.close()
        if busy:
            raise ReviewError(
                "the author is erased, but the store's log still has old pages, because another process reads it; "
                "stop the desk, and run the same command again"
            )
        return None

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _unopened(error: SQLAlchemyError) -> ReviewError:
    return ReviewError(
        f"the store cannot be opened ({type(error).__name__}); check review.store, and that its database runs"
    )


def _postgresql(url: str) -> Engine:
    """An engine with the driver that the extra has. What libpq calls ``sslmode`` and ``sslrootcert`` may stand in the URL."""
    parts = make_url(url)
    if parts.drivername in {"postgresql", "postgres"}:
        parts = parts.set(drivername="postgresql+pg8000")
    told = {name: parts.query.get(name) for name in ("sslmode", "sslrootcert")}
    parts = parts.difference_update_query(told)
    engine = create_engine(
        parts, pool_pre_ping=True, hide_parameters=True, connect_args={"ssl_context": _tls(**told)}
    )

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _record: object, given: Any, named: Any) -> Any:
        try:
            return dialect.connect(*given, **named)
        except (
            OSError
        ) as error:  # of the TLS handshake: the driver lets it through, and it is no error of a database
            raise dialect.loaded_dbapi.InterfaceError(str(error)) from error

    return engine


def _tls(sslmode: Any, sslrootcert: Any) -> ssl.SSLContext | bool | None:
    """What the driver takes: a context, False for no TLS, or None for TLS of anybody where the server has it."""
    if sslmode not in {None, "prefer", "disable", "verify-full"} or (
        sslrootcert and sslmode != "verify-full"
    ):
        raise ReviewError(
            "the sslmode of review.store is none that the desk knows; give verify-full, which checks the server's "
            "certificate (with sslrootcert=FILE where an authority of your own signed it), prefer, or disable"
        )
    if sslmode != "verify-full":
        return False if sslmode == "disable" else None
    try:
        return ssl.create_default_context(cafile=sslrootcert)
    except OSError as error:
        raise ReviewError(
            "the sslrootcert of review.store is no file with certificates in PEM; name one that can be read"
        ) from error


def _sqlite(url: str, busy_s: float) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": busy_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(raw: object, _record: object) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]  # SQLAlchemy begins; the driver would begin too late
        cursor = raw.cursor()  # type: ignore[attr-defined]
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={int(busy_s * 1000)}",
            "secure_delete=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        # A writer that read first could not be told what changed since: it takes its lock at once.
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
