"""The desk: store, projector and outbox of one process, and what the pages ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from sluicegate.pipeline.review.cases import Cases
from sluicegate.pipeline.review.decisions import Decisions
from sluicegate.pipeline.review.export import as_csv, as_json, csv_head, exported
from sluicegate.pipeline.review.figures import QueueFigures
from sluicegate.pipeline.review.health import DeskHealth
from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.metrics import ReviewMetrics
from sluicegate.pipeline.review.outbox import Outbox
from sluicegate.pipeline.review.projector import Projector
from sluicegate.pipeline.review.queue import CaseQueue
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.vault import TextVault
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class ReviewDesk:
    """Everything of a review desk but its pages. Use as a context manager.

    Args:
        settings: All of them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.review
        self.store = ReviewStore(self.settings.store.get_secret_value())
        key = self.settings.key
        self.vault = TextVault(None if key is None else key.get_secret_value())
        self.queue = CaseQueue(self.settings)
        self.decisions = Decisions(self.vault)
        self.figures = QueueFigures(self.store)
        self.outbox = Outbox(settings.kafka, settings.topics, self.store)
        self.projector = Projector(
            settings.kafka,
            settings.topics,
            self.store,
            Cases(self.settings, self.vault, settings.candidate),
            candidates=settings.candidate.experiment is not None,
        )
        self.metrics = ReviewMetrics(self.store, self.figures, DeskHealth(self.projector, self.outbox))

    def __enter__(self) -> Self:
        """Bring the store to today's shape, and begin to read and to send.

        Raises:
            ReviewError: The store cannot be opened, or was made with another `review.key`.
        """
        try:
            self.store.migrate()
            with self.store.reading() as connection:
                self.vault.require_key(connection)
        except BaseException:
            self.store.close()
            raise
        self.projector.start()
        self.outbox.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.projector.stop()
        self.outbox.stop()
        self.store.close()

    @property
    def troubles(self) -> list[str]:
        """Why the desk is not ready; none if it is. It asks the store, and waits for as long as that is silent."""
        found = [one for one in (self.projector.trouble, self.outbox.trouble) if one is not None]
        return found if self.store.answers() else [*found, "the store does not answer"]

    def erase(self, tenant: str, author_id: str, actor: str) -> tuple[int, str | None]:
        """Take away the texts of an author for good; how many there were, and what the database may still keep.

        Needs no running threads.

        Raises:
            ReviewError: The author is erased, but old pages of the store could not be emptied.
        """
        self.store.migrate()
        with self.store.writing() as connection:
            texts = self.vault.erase(connection, tenant, author_id)
            note(connection, actor, "administrator", "author erased", tenant, {"texts": texts})
        return texts, self.store.wipe()

    def export(
        self, actor: str, form: Literal["csv", "jsonl"], *, tenant: str = "", texts: bool = False
    ) -> Iterator[str]:
        """Every case with what was decided on it, a line at a time. Needs no running threads.

        Args:
            actor: Who exports: the journal has it.
            form: ``csv`` begins with the names of columns.
            tenant: Whose cases; empty is all.
            texts: True adds the texts of posts.
        """
        self.store.migrate()
        rows = exported(self.store, self.vault, actor=actor, form=form, tenant=tenant, texts=texts)
        if form == "csv":
            yield csv_head()
        yield from map(as_csv if form == "csv" else as_json, rows)

    def rebuild(self, actor: str) -> tuple[int, int]:
        """Throw the read model away; how many open cases went, and how many stayed. Needs no running threads."""
        self.store.migrate()
        gone, left = self.store.forget_read_model()
        with self.store.writing() as connection:
            note(
                connection,
                actor,
                "administrator",
                "read model emptied",
                "store",
                {"gone": gone, "left": left},
            )
        return gone, left
