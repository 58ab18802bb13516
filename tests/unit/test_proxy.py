"""The proxy that the fault suite disturbs the network with."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import pytest

from support.kafka import free_ports
from support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON_S = 5.0


class Echo(socketserver.BaseRequestHandler):
    """Says back what it hears."""

    def handle(self) -> None:
        while heard := self.request.recv(4096):
            self.request.sendall(heard)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy(free_ports(1)[0], server.server_address[1]) as found:
            yield found
        server.shutdown()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON_S)


def echoed(connection: socket.socket, said: bytes) -> bytes:
    connection.sendall(said)
    heard = b""
    while len(heard) < len(said) and (piece := connection.recv(65536)):
        heard += piece
    return heard


def test_it_passes_on_both_ways(proxy: Proxy) -> None:
    said = bytes(range(256)) * 400
    with connect(proxy) as connection:
        assert echoed(connection, said) == said
    assert proxy.connections == 1


def test_a_cut_breaks_connections_and_refuses_new_ones_until_it_is_restored(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert echoed(connection, b"hello") == b"hello"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.restore()
    with connect(proxy) as connection:
        assert echoed(connection, b"again") == b"again"


def test_silence_accepts_and_says_nothing_until_it_is_restored(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert echoed(old, b"hello") == b"hello"
        proxy.silence()
        with connect(proxy) as new:
            for one in (old, new):
                one.sendall(b"anybody?")
                one.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    one.recv(1)
            proxy.restore()
            new.settimeout(SOON_S)
            with pytest.raises(ConnectionResetError):
                new.recv(1)
    with connect(proxy) as connection:
        assert echoed(connection, b"again") == b"again"


def test_a_slow_link_takes_at_least_its_time(proxy: Proxy) -> None:
    proxy.slow(bytes_per_s=20_000, delay_s=0.05)
    with connect(proxy) as connection:
        began = time.monotonic()
        assert echoed(connection, b"x" * 4000) == b"x" * 4000
    assert (
        time.monotonic() - began >= 2 * 4000 / 20_000
    )  # 4,000 bytes there and back; sleeping is never shorter
