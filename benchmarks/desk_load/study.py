"""How long the review desk's pages take with many open cases. Prints JSON.

    python benchmarks/desk_load                                  # SQLite, 100,000 open cases
    python benchmarks/desk_load --cases 1000000 --postgresql     # Debian's PostgreSQL on a port of its own

One reviewer and one lead ask over loopback HTTP, one request after another; a request's time is from its first byte to its last.
No broker: what is decided stays in the outbox. A tenth of the cases are a breaker's; as many decisions as cases stand in the
store. The cases that come first have a text, as those that people open do. `read_whole` names statements whose plan reads a
whole table or index, with the plan's line.
"""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, insert, select, text
from sqlalchemy.engine import Engine

from shared.machine import commit, machine
from shared.report import options
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.tables import cases, decisions, posts, verdicts
from sluicegate.pipeline.review.vault import post_key
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import content_hash
from support.cases import Bench, judged, post
from support.desk import browsing, hidden
from support.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from sqlalchemy import Connection, Table

    from sluicegate.pipeline.review.store import ReviewStore

LANGUAGES = ("", "en", "zh", "ar", "de")
CATEGORIES = ("Violent", "PII", "")
BREAKERS = 10
"""One case in so many."""
_AT_ONCE = 5_000
_TABLES = ("cases", "decisions", "verdicts", "events", "outbox", "resolutions", "posts", "skips")


def fill(store: ReviewStore, wanted: int, texts: int) -> None:
    """Put open cases into a store, as many decided ones beside them, and a text for those that come first."""
    bench, example = Bench(store), post("example")
    bench.take(example, judged(example))
    (case,) = bench.all()
    bench.answer(case.case_id)
    with store.writing() as connection:
        patterns = [
            dict(connection.execute(select(table)).mappings().one())
            for table in (cases, verdicts, posts, decisions)
        ]
    for first in range(0, wanted, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, wanted))
        made = [_rows(patterns, number) for number in numbers]
        with store.writing() as connection:
            for number, table in enumerate((cases, verdicts, decisions)):
                put(connection, table, [row for one in made for row in one[number]])
            for number in range(first, min(texts, numbers.stop)):
                bench.cases.take_post(connection, post(_name(number)))
    if not store.embedded:  # autovacuum does it there; nobody does it in SQLite
        with store.writing() as connection:
            connection.execute(text("ANALYZE"))


def put(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows. PostgreSQL gets them by COPY: its driver asks once for each row of an INSERT."""
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
        return
    columns = [column.name for column in table.columns]
    copied = io.StringIO("".join("\t".join(_cell(row.get(one)) for one in columns) + "\n" for row in rows))
    cursor: Any = connection.connection.cursor()
    cursor.execute(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN", stream=copied)
    cursor.close()


def _cell(value: Any) -> str:
    """A value as COPY's text format has it."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    if isinstance(value, (dict, list)):
        value = json.dumps(value)
    told = str(value)
    for character, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        told = told.replace(character, escaped)
    return told


def _name(number: int) -> str:
    return f"post {number}"


def _rows(patterns: list[dict[str, Any]], number: int) -> tuple[list[dict[str, Any]], ...]:
    """An open case and a decided one, the verdict of the first, and the decision of the second."""
    case, verdict, _, decision = patterns
    name, breaker = _name(number), number % BREAKERS == 0
    found = judged(post(name))
    key = {"case_id": f"case-{number:07}"}
    opened = {
        **case,
        **key,
        "state": "open",
        "language": LANGUAGES[number % len(LANGUAGES)],
        "category": CATEGORIES[number % len(CATEGORIES)],
        "cause": "breaker" if breaker else "review",
        "breaker": breaker,
        "near_key": f"near {number}",
        "rank": float(number),
        "closed_at": None,
        "holder": None,
        "held_until": None,
    }
    told = {
        **verdict,
        **key,
        "verdict_id": found.verdict_id,
        "post_id": name,
        "post_key": _key(name),
        "body": found.model_dump_json(),
    }
    done = {**key, "case_id": f"done-{number:07}"}
    closed = {
        **opened,
        **done,
        "state": "decided",
        "breaker": False,
        "cause": "review",
        "near_key": f"done {number}",
    }
    given = {
        **decision,
        **done,
        "decision_id": f"decision-{number:07}",
        "reviewer": f"reviewer {number % 40}",
        "decided_at": time.time() - number % 2_000_000,
    }
    return [opened, closed], [told], [given]


def _key(name: str) -> str:
    one = post(name)
    return post_key(one.tenant, one.id, one.revision, content_hash(one))


def report(seconds: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {
        "requests": len(seconds),
        **{f"p{percent}_ms": round(cuts[percent - 1] * 1000, 1) for percent in (50, 95, 99)},
        "most_ms": round(max(seconds) * 1000, 1),
    }


def measure(browser: httpx.Client, rounds: int) -> dict[str, Any]:
    """Times of each page, over so many decisions."""
    took: dict[str, list[float]] = {"queue": [], "next": [], "case": [], "answer": []}

    def timed(what: str, ask: Callable[..., httpx.Response], *given: str, **options: Any) -> httpx.Response:
        began = time.perf_counter()
        response = ask(*given, **options)
        took[what].append(time.perf_counter() - began)
        return response

    for _ in range(rounds):
        listed = timed("queue", browser.get, "/queue")
        taken = timed("next", browser.post, "/next", data=hidden(listed), follow_redirects=False)
        place = taken.headers["location"]
        shown = timed("case", browser.get, place)
        answer = {**hidden(shown), "action": "allow", "severity": "safe", "disposition": "none"}
        where = f"{place.partition('?')[0]}/answer"
        done = timed("answer", browser.post, where, data=answer, follow_redirects=False)
        if done.status_code != 303:
            raise RuntimeError(f"an answer was refused: {done.status_code}")
    return {name: report(seconds) for name, seconds in took.items()}


def read_whole(store: ReviewStore, statements: dict[str, Any]) -> Iterator[str]:
    """Statements whose plan reads a whole table or index."""
    with store.reading() as connection:
        for statement, parameters in statements.items():
            ask = "EXPLAIN QUERY PLAN " if store.embedded else "EXPLAIN "
            for row in connection.exec_driver_sql(ask + statement, parameters):
                line = str(row[-1])
                scans = line.startswith("SCAN ") if store.embedded else "Seq Scan on" in line
                if scans and any(f" {table}" in line for table in _TABLES):
                    yield f"{line.strip()}: {' '.join(statement.split())[:200]}"


def main() -> None:
    """Measure what is asked and print it as JSON."""
    parser = options(__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true")
    asked = parser.parse_args()
    statements: dict[str, Any] = {}

    def heard(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            statements.setdefault(statement, parameters)

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = f"sqlite:///{Path(folder) / 'review.db'}"
        if asked.postgresql:
            url = stack.enter_context(postgres_server())
        review = {"store": url, "key": "k" * 32, "golden_share": 0.02, "exposure_cap": 0}
        desk = ReviewDesk(load_settings(review=review))
        desk.store.migrate()
        began = time.perf_counter()
        fill(desk.store, asked.cases, 4 * asked.rounds)
        filled_s = time.perf_counter() - began
        event.listen(Engine, "before_cursor_execute", heard)
        found: dict[str, Any] = {}
        for name in ("heron", "owl"):
            with browsing(desk) as browser:
                browser.post("/login", data={"name": name})
                found[name] = measure(browser, asked.rounds)
        began = time.perf_counter()
        desk.metrics.text()
        figures_s = time.perf_counter() - began
        event.remove(Engine, "before_cursor_execute", heard)
        document = {
            "machine": machine(),
            "commit": commit(),
            "store": "postgresql" if asked.postgresql else "sqlite",
            "open_cases": asked.cases,
            "filled_s": round(filled_s, 1),
            "reviewer": found["heron"],
            "lead": found["owl"],
            "first_metrics_s": round(figures_s, 2),
            "read_whole": sorted(set(read_whole(desk.store, statements))),
        }
        desk.store.close()
    print(json.dumps(document, indent=1))
