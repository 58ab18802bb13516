"""One broker with TLS, SCRAM and rights, for all that is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.kafka_security import SecuredKafka

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with SecuredKafka(tmp_path_factory.mktemp("secured")) as cluster:
        yield cluster
