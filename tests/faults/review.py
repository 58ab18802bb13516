"""Reviewers decide while their desk is killed, the broker restarts, and eight of them race for the same cases.

python -m faults.review --decisions 20000 --kills 20

Every decision that a page confirmed must stand on its topic: once, for the right post, with the right action. A page that got
no answer is sent again, as a person would.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from starlette.responses import Response

from sluicegate.pipeline.kafka.producer import Placed, Producer, Refused
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.review.outbox import waiting
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.web.sessions import Sessions
from sluicegate.pipeline.settings.tree import KafkaSettings, TopicSettings
from sluicegate.schemas import Feedback, Post, Resolution, encode
from support.cases import judged
from support.kafka import ApacheKafka, dies_with_us, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

REVIEWERS = 8
_LIMIT_S = 3 * 3600.0
_PAUSE_S = 0.2
_STRAY_SHARE = 0.2
"""How often a reviewer answers a case of the list, whoever holds it."""
_MEMORY = "/dev/shm"  # noqa: S108 - a folder with a random name is made in it
_TEXT = re.compile(r"The disputed words of post (\d+)\.")


def text_of(number: int) -> str:
    return f"The disputed words of post {number}."


def right(number: int) -> str:
    """The action that everybody finds right."""
    return "block" if number % 3 == 0 else "allow"


class Desk:
    """The desk's process, which is killed and started again at the same address."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        (self.port,) = free_ports(1)
        self.store_url = f"sqlite:///{folder / 'review.db'}"
        self._log = folder / "desk.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")},
            "SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "SLUICEGATE_REVIEW__STORE": self.store_url,
            "SLUICEGATE_REVIEW__PORT": str(self.port),
            "SLUICEGATE_REVIEW__LEASE_S": "10",
            "SLUICEGATE_REVIEW__BLIND_SHARE": "0",
            "SLUICEGATE_REVIEW__DOUBLE_SHARE": "0",
            "SLUICEGATE_REVIEW__EXPOSURE_CAP": "0",  # these readers need no pause
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), sys.executable, "-m", "sluicegate", "review", "serve", "--demo"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it by SIGKILL, wherever it is, and start it again."""
        self.stop()
        self.kills += 1
        self.start()

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@dataclass
class Told:
    """What reviewers were told."""

    confirmed: Counter[int] = field(default_factory=Counter)
    """Posts whose decision a page confirmed."""
    refused: int = 0
    unanswered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class RacingReviewer(threading.Thread):
    """One person at a browser, without patience: what fails is sent again."""

    def __init__(
        self, number: int, desk: Desk, store: ReviewStore, told: Told, over: threading.Event
    ) -> None:
        super().__init__(name=f"reviewer-{number}", daemon=True)
        self._random = random.Random(number)
        self._desk = desk
        self._told = told
        self._over = over
        sessions = Sessions(store, secure=False)
        response = Response()
        sessions.begin(response, f"reviewer-{number}", "reviewer")
        token = response.headers["set-cookie"].split("=", 1)[1].split(";", 1)[0]
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{desk.port}",
            cookies={sessions.cookie: token},
            follow_redirects=False,
            timeout=30,
        )
        self._place = ""
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._one()
        except BaseException as fault:
            self.fault = fault
            raise

    def _ask(self, method: str, place: str, form: dict[str, str] | None = None) -> httpx.Response | None:
        """An answer, however often it takes; None once it is over."""
        while not self._over.is_set():
            try:
                answer = self._client.request(method, place, data=form)
            except httpx.HTTPError:
                with self._told.lock:
                    self._told.unanswered += 1
                time.sleep(_PAUSE_S)
                continue
            if answer.status_code < 500:
                return answer
            time.sleep(_PAUSE_S)
        return None

    def _one(self) -> None:
        place = self._next_case()
        page = self._ask("GET", place) if place else None
        found = _TEXT.search(page.text) if page is not None else None
        if page is None or found is None:  # decided and gone meanwhile, or nothing to take
            return
        number = int(found[1])
        hidden = dict(re.findall(r'name="(csrf|version|shown_at)" value="([^"]*)"', page.text))
        action = right(number)
        form = {**hidden, "action": action, "severity": "safe" if action == "allow" else "unsafe"}
        answer = self._ask("POST", f"{place}/answer", form)
        if answer is None:
            return
        with self._told.lock:
            if answer.status_code == 303:
                self._told.confirmed[number] += 1
            else:
                self._told.refused += 1
        if answer.status_code == 303:  # it leads to the next case, and holds that for this reviewer
            self._place = answer.headers["location"].partition("?")[0]

    def _next_case(self) -> str:
        """Where the next case is: the one that the answer before led to, or one of the list; empty if none is there."""
        place, self._place = self._place, ""
        if place.startswith("/cases/") and self._random.random() >= _STRAY_SHARE:
            return place
        queue = self._ask("GET", "/queue")
        if queue is None:
            return ""
        csrf = re.search(r'name="csrf" value="([^"]+)"', queue.text)
        assert csrf, queue.text
        listed = re.findall(r'href="(/cases/[0-9a-f-]+)"', queue.text)
        if not listed:
            time.sleep(1)
            return ""
        if self._random.random() < _STRAY_SHARE:
            return str(self._random.choice(listed[:20]))
        taken = self._ask("POST", "/next", {"csrf": csrf[1]})
        place = "" if taken is None else taken.headers["location"].partition("?")[0]
        return place if place.startswith("/cases/") else ""


def publish(bootstrap: str, first: int, last: int) -> None:
    """Posts, each with a verdict that asks for a person."""
    producer = Producer(KafkaSettings(bootstrap_servers=bootstrap))
    topics = TopicSettings()
    refused: list[Refused] = []

    def report(outcome: Placed | Refused) -> None:
        if isinstance(outcome, Refused):
            refused.append(outcome)

    for number in range(first, last):
        post = Post(id=f"post-{number}", text=text_of(number), author_id=f"author-{number % 500}")
        verdict = judged(post, at=number)
        producer.put(topics.posts, encode(post), post.id.encode(), report=report)
        producer.put(topics.review, encode(verdict), post.id.encode(), report=report)
    assert producer.close(60) == 0
    assert not refused


@dataclass(frozen=True, slots=True)
class Account:
    """What stands on the topics, beside what reviewers were told."""

    decisions: int
    lost: int
    doubled: int
    wrong: int
    repeats: int
    unlearnt: int

    def line(self) -> str:
        return (
            f"review: {self.decisions} decisions, {self.lost} lost, {self.doubled} doubled, "
            f"{self.wrong} on the wrong case"
        )

    @property
    def kept(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.unlearnt)


def account(bootstrap: str, told: Told, decisions: int) -> Account:
    """Read both topics from their beginning, and count."""
    kafka, topics = KafkaSettings(bootstrap_servers=bootstrap), TopicSettings()
    made: dict[str, Resolution] = {}
    learnt: set[str] = set()
    repeats = 0
    with TopicReader(kafka, [topics.resolutions, topics.feedback], start="beginning") as reader:
        for record in reader.read_all():
            if record.topic == topics.feedback:
                learnt.add(Feedback.model_validate_json(record.value or b"").post.id)
                continue
            resolution = record.event(Resolution)
            assert resolution is not None
            repeats += resolution.resolution_id in made
            made[resolution.resolution_id] = resolution
    by_post = Counter(one.post_id for one in made.values())
    wanted = {f"post-{number}" for number in range(decisions)} | {
        f"post-{number}" for number in told.confirmed
    }
    return Account(
        decisions=len(by_post),
        lost=len(wanted - by_post.keys()),
        doubled=sum(count > 1 for count in by_post.values()),
        wrong=sum(one.action != right(int(one.post_id.removeprefix("post-"))) for one in made.values()),
        repeats=repeats,
        unlearnt=len(by_post.keys() - learnt),
    )


def play(decisions: int, kills: int, *, restarts: int) -> Account:
    """All of it; what is left in the end."""
    told, over = Told(), threading.Event()
    names = [name for setting, name in TopicSettings().model_dump().items() if setting != "forward"]
    # SIGKILL takes nothing from the kernel, so the store need not wait for a disk here.
    memory = _MEMORY if Path(_MEMORY).is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="sluicegate-review-", dir=memory) as folder,
        ApacheKafka() as kafka,
    ):
        for name in names:
            kafka.create_topic(name, 4)
        desk = Desk(Path(folder), kafka.bootstrap)
        store = ReviewStore(desk.store_url)
        store.migrate()
        publish(kafka.bootstrap, 0, decisions // 2)
        desk.start()
        reviewers = [RacingReviewer(number, desk, store, told, over) for number in range(REVIEWERS)]
        for one in reviewers:
            one.start()
        publish(kafka.bootstrap, decisions // 2, decisions)
        began = time.monotonic()
        end = began + _LIMIT_S
        restarted = 0
        while len(told.confirmed) < decisions or not _all_sent(store):
            assert time.monotonic() < end, f"{len(told.confirmed)} of {decisions} after {_LIMIT_S:.0f} s"
            for one in reviewers:
                assert one.fault is None, one.fault
            done = len(told.confirmed)
            if desk.kills < kills and done >= decisions * (desk.kills + 1) // (kills + 1):
                desk.kill()
                print(f"  {done} decided, killed {desk.kills} times", flush=True)
            if restarted < restarts and done >= decisions * (restarted + 1) // (restarts + 1):
                restarted += 1
                kafka.kill()
                kafka.restart()
                print(f"  {done} decided, broker restarted {restarted} times", flush=True)
            time.sleep(0.05)
        over.set()
        for one in reviewers:
            one.join()
        found = account(kafka.bootstrap, told, decisions)
        desk.stop()
        store.close()
    print(
        f"  {len(told.confirmed)} decided within {time.monotonic() - began:.0f} s; killed {desk.kills} times, broker restarted {restarted} times; {told.refused} answers refused, "
        f"{told.unanswered} requests unanswered; {found.repeats} records came twice, {found.unlearnt} without feedback",
        flush=True,
    )
    return found


def _all_sent(store: ReviewStore) -> bool:
    with store.reading() as connection:
        return waiting(connection) == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if a decision was lost, doubled or on the wrong case."""
    parser = argparse.ArgumentParser(
        prog="faults.review", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=2, help="of the broker")
    options = parser.parse_args(arguments)
    found = play(options.decisions, options.kills, restarts=options.restarts)
    print(found.line())
    return 0 if found.kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
