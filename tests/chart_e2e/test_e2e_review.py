"""What Helm sees of the review desk's Secrets before it changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chart.rendering import CHART

if TYPE_CHECKING:
    from collections.abc import Callable

    from chart_e2e.releases import Release

pytestmark = [pytest.mark.helm, pytest.mark.apiserver]

VALUES = CHART / "ci" / "review-values.yaml"


def _secret(release: Release, **data: str) -> None:
    metadata = {"name": "review-database"}
    release.server.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}, release.namespace
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"url": "sqlite:////tmp/hush.db"}, "names a file of SQLite, which ends with the pod"),
        ({"url": "mysql://desk:hush@db/review"}, "does not begin with postgresql://"),
        ({"uri": "postgresql://desk:hush@db/review"}, "has no key url; set review.database.key"),
    ],
    ids=["sqlite", "driver", "key"],
)
def test_a_store_that_a_desk_cannot_have_is_refused_without_its_password(
    data: dict[str, str], said: str, new_release: Callable[[], Release]
) -> None:
    release = new_release()
    _secret(release, **data)
    with pytest.raises(AssertionError) as refused:
        release.install(VALUES)
    assert said in str(refused.value)
    assert "hush" not in str(refused.value)
    assert {kind for kind, _ in release.there()} == {"Secret"}


def test_a_store_that_cannot_be_migrated_stops_an_upgrade_before_the_desk_is_taken_away(
    new_release: Callable[[], Release],
) -> None:
    release = new_release()
    _secret(release, url="postgresql://desk:hush@db/review")
    release.install(VALUES)
    desk = f"{release.worker}-review"
    before = release.server.get("apps/v1", "Deployment", release.namespace, desk)
    with pytest.raises(AssertionError, match="pre-upgrade hooks failed"):
        release.upgrade(VALUES, "--set", "settings.review.sla_s=60", well=False)
    assert release.server.get("apps/v1", "Deployment", release.namespace, desk) == before
