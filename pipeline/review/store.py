"""The store: one database, its shape, and its transactions. It alone knows which database it is."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, delete, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.review.tables import READ_MODEL, cases

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_STATES = ("open", "adjudication")
"""States of a case that waits for a person."""
_BUSY_MS = 30_000


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
    """

    def __init__(self, url: str) -> None:
        self._turns: AbstractContextManager[None] = nullcontext()
        try:
            self.embedded = make_url(url).get_backend_name() == "sqlite"
            self._engine = (
                _sqlite(url)
                if self.embedded
                else create_engine(url, pool_pre_ping=True, hide_parameters=True)
            )
        except (ArgumentError, ModuleNotFoundError) as error:
            raise ReviewError(
                "review.store is no database that can be opened here; give sqlite:///review.db, or "
                "postgresql+pg8000://user:password@host/name"
            ) from error
        if self.embedded:
            self._turns = _Turns()

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

    def migrate(self, shape: str = "head") -> None:
        """Bring the database to the shape of today. Safe to repeat, and while others do.

        Args:
            shape: An older one, to begin with.

        Raises:
            ReviewError: The database does not answer, or refuses, or has the shape of a version that is not known here.
        """
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            with self.writing() as connection:
                if not self.embedded:
                    connection.execute(text("SELECT pg_advisory_xact_lock(7205759403792)"))  # any number
                config.attributes["connection"] = connection
                command.upgrade(config, shape)
        except CommandError as error:
            raise ReviewError(
                "the store has the shape of another version of sluicegate; take that version or a newer one, "
                "or restore the store from a backup of before"
            ) from error
        except SQLAlchemyError as error:
            raise ReviewError(
                f"the store cannot be opened ({type(error).__name__}); check review.store, and that its database runs"
            ) from error

    def forget_read_model(self) -> None:
        """Empty all that the topics make again. What people did stays."""
        with self.writing() as connection:
            for table in READ_MODEL:
                connection.execute(delete(table))
            connection.execute(delete(cases).where(cases.c.state.in_(OPEN_STATES)))

    def wipe(self) -> None:
        """See that what was deleted is gone from the disk, too, as far as the database can."""
        if self.embedded:  # old pages stand in its log until that is emptied
            raw = self._engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                raw.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(raw: object, _record: object) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]  # SQLAlchemy begins; the driver would begin too late
        cursor = raw.cursor()  # type: ignore[attr-defined]
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={_BUSY_MS}",
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
