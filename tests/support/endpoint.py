"""One answer of an HTTP endpoint that may not be there."""

from __future__ import annotations

import http.client


def get(host: str, port: int, path: str, *, timeout_s: float = 10) -> tuple[int, str]:
    """Status and body; (0, "") while nobody answers."""
    return _ask("GET", host, port, path, None, timeout_s)


def post(host: str, port: int, path: str, body: bytes, *, timeout_s: float = 10) -> tuple[int, str]:
    """Post JSON. Status and body; (0, "") while nobody answers."""
    return _ask("POST", host, port, path, body, timeout_s)


def _ask(
    method: str, host: str, port: int, path: str, body: bytes | None, timeout_s: float
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
