"""Apache Kafka for tests: one to three KRaft brokers from Maven's jars, in a folder, on free loopback ports."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

if TYPE_CHECKING:
    from types import TracebackType

POM = Path(__file__).with_name("pom.xml")
REPOSITORY = Path(__file__).resolve().parents[2]

START_S = 60.0
_TAIL_LINES = 40
_MAVEN_S = 240  # 43 MB on a slow line


class KafkaMissingError(Exception):
    """Apache Kafka cannot be run here. The message says what is missing."""


def kafka_version() -> str:
    """The version that the pom asks for."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    assert found, "pom.xml names kafka.version"
    return found[1]


def cache_folder() -> Path:
    """Where fetched files are kept between runs."""
    return Path(os.environ.get("SLUICEGATE_CACHE_DIR") or REPOSITORY / ".cache")


def missing() -> str | None:
    """What this machine lacks to run Apache Kafka; None if nothing."""
    if shutil.which("java") is None:
        return "no `java` on PATH (Apache Kafka needs Java 17 or later)"
    if not _jars().is_dir() and shutil.which("mvn") is None:
        return "no `mvn` on PATH to fetch Apache Kafka with"
    return None


def _jars() -> Path:
    return cache_folder() / f"kafka-{kafka_version()}"


def resolve_jars() -> Path:
    """The folder with the broker's jars, fetched by Maven the first time.

    Raises:
        KafkaMissingError: Java or Maven is missing, or Maven could not fetch.
    """
    if reason := missing():
        raise KafkaMissingError(reason)
    jars = _jars()
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="kafka-part-") as part:
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={part}/jars",
        ]
        try:
            maven = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=_MAVEN_S,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise KafkaMissingError(f"Maven did not fetch Apache Kafka within {_MAVEN_S} s") from None
        if maven.returncode:
            raise KafkaMissingError(
                f"Maven could not fetch Apache Kafka:\n{maven.stdout[-2000:]}{maven.stderr[-2000:]}"
            )
        # The folder appears whole or not at all; whoever comes second keeps the first one's.
        with contextlib.suppress(OSError):
            Path(part, "jars").rename(jars)
    return jars


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on at this moment, all different."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log file."""
    if not path.exists():
        return f"({path.name} was not written)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def dies_with_us() -> list[str]:
    """Command prefix that lets a child die with this process even if that is killed (Linux; else empty)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class _Node:
    """One broker that is also a controller."""

    def __init__(self, folder: Path, jars: Path, properties: dict[str, str]) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        self._jars = jars
        self._file = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    def _java(self, main: str, *arguments: str) -> list[str]:
        # A small heap, one compiler tier and the serial collector: the broker shares two cores with the tests.
        tuning = ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        logging = [
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ]
        return ["java", *tuning, *logging, "-cp", f"{self._jars}/*", main, *arguments]

    def format(self, cluster_id: str) -> None:
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._file))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)
        if done.returncode:
            raise RuntimeError(f"the storage folder could not be formatted:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), *self._java("kafka.Kafka", str(self._file))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class ApacheKafka:
    """A cluster of Apache Kafka in KRaft mode, each node broker and controller in one.

    Use as a context manager: entering starts it and waits until it answers, leaving
    stops it and removes its folder. It listens on loopback, without security.

    Args:
        brokers: One to three.
        properties: Broker properties on top of, or instead of, the ones set here.
    """

    def __init__(self, *, brokers: int = 1, properties: dict[str, str] | None = None) -> None:
        self._jars = resolve_jars()
        self.version = kafka_version()
        self.folder = Path(tempfile.mkdtemp(prefix="sluicegate-kafka-"))
        ports = free_ports(4 * brokers)
        self._ports = ports[:brokers]
        controllers = ports[brokers : 2 * brokers]
        self.side_doors = list(zip(ports[2 * brokers : 3 * brokers], ports[3 * brokers :], strict=True))
        """Per broker a second listener's port, and the port that it is advertised at: a proxy's place."""
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, start=1))
        self._nodes = [
            _Node(
                self.folder / f"node-{node}",
                self._jars,
                self._properties(node, ports[node - 1], ports[brokers + node - 1], voters)
                | (properties or {}),
            )
            for node in range(1, brokers + 1)
        ]

    def _properties(self, node: int, port: int, controller_port: int, voters: str) -> dict[str, str]:
        replicas = str(len(self._ports))
        side, advertised = self.side_doors[node - 1]
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},SIDE://127.0.0.1:{side}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},SIDE://127.0.0.1:{advertised}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SIDE:PLAINTEXT",
            "log.dirs": str(self.data(node)),
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A killed broker may come back as soon as its old session is over.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }

    @property
    def bootstrap(self) -> str:
        """Addresses of all brokers, as clients take them."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    def start(self) -> None:
        """Format, start, and wait until every broker is listed.

        Raises:
            RuntimeError: A broker ended or did not answer; the message ends in its log's last lines.
        """
        cluster_id = "c2x1aWNlZ2F0ZS10ZXN0cw"  # 22 characters of base64 are a cluster id
        for node in self._nodes:
            node.format(cluster_id)
        for node in self._nodes:
            node.start()
        self._await(len(self._nodes))

    def _await(self, count: int) -> None:
        admin = AdminClient(
            {"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            running = [node for node in self._nodes if node.running]
            if len(running) < count:
                ended = next(node for node in self._nodes if node not in running)
                raise RuntimeError(f"a broker ended while starting:\n{tail(ended.log)}")
            with contextlib.suppress(KafkaException):
                if len(admin.list_topics(timeout=1.0).brokers) >= count:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the brokers did not answer within {START_S:.0f} s:\n{tail(self._nodes[0].log)}")

    def create_topic(self, name: str, partitions: int, *, config: dict[str, str] | None = None) -> None:
        """Create a topic, copied to every broker, and wait until all its partitions have a leader."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        topic = NewTopic(
            name, num_partitions=partitions, replication_factor=len(self._nodes), config=config or {}
        )
        admin.create_topics([topic], operation_timeout=30.0)[name].result(30.0)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = admin.list_topics(topic=name, timeout=5.0).topics[name].partitions
            if len(found) == partitions and all(one.leader >= 0 for one in found.values()):
                return
            time.sleep(0.05)
        raise RuntimeError(f"topic {name} has no leaders within {START_S:.0f} s")

    @property
    def down(self) -> list[int]:
        """Numbers of the brokers that do not run."""
        return [number for number, node in enumerate(self._nodes, start=1) if not node.running]

    def data(self, node: int = 1) -> Path:
        """The folder in which one broker keeps its logs, a folder for each partition."""
        return self.folder / f"node-{node}" / "data"

    def kill(self, node: int = 1) -> None:
        """SIGKILL one broker; its data stay."""
        self._nodes[node - 1].kill()

    def restart(self, node: int = 1) -> None:
        """Start a killed or stopped broker again, on its old port and data, and wait until it answers."""
        self._nodes[node - 1].start()
        self._await(sum(one.running for one in self._nodes))

    def stop(self) -> None:
        """Kill every broker and remove the folder: the data go with it, so an orderly end gains nothing."""
        for node in self._nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
