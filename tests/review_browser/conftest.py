"""One browser for each file of tests: where tests of asyncio follow, none of its loop is left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.chromium import Person, chromium
from support.desk import desk_of, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluicegate.schemas import Post
    from support.cases import Bench


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def desk(browser: Any, tmp_path: Path) -> Callable[..., Any]:
    """Opens a desk with posts: who sits down at it is a function of a name."""

    @contextmanager
    def opened(*posts: Post, demo: bool = True, **settings: Any) -> Iterator[tuple[Any, Bench]]:
        with desk_of(tmp_path, *posts, **settings) as (made, bench), served(made, demo=demo) as address:

            @contextmanager
            def sits(name: str = "heron", **context: Any) -> Iterator[Person]:
                with Person(browser, address, **context) as person:
                    if name:
                        person.log_in(name)
                    yield person

            yield sits, bench

    return opened
