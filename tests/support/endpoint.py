"""One answer of an HTTP endpoint that may not be there."""

from __future__ import annotations

import http.client


def get(host: str, port: int, path: str, *, timeout_s: float = 10) -> tuple[int, str]:
    """Status and body; (0, "") while nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
