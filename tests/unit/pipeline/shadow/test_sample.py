"""Which posts a candidate judges: always the same, more with a greater share, and fairly chosen."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.shadow.sample import ShadowSample, place
from support.events import identifiers, tenants

SHARES = st.floats(0, 1)
PLACES = [10114110988202514901, 14986655014587674287]


@given(identifiers, tenants, identifiers, SHARES, SHARES)
def test_a_greater_share_only_adds(
    experiment: str, tenant: str, post_id: str, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    if ShadowSample(experiment, less).holds(tenant, post_id):
        assert ShadowSample(experiment, more).holds(tenant, post_id)


@given(identifiers, tenants, identifiers)
def test_no_share_holds_no_post_and_the_whole_holds_all(experiment: str, tenant: str, post_id: str) -> None:
    assert not ShadowSample(experiment, 0).holds(tenant, post_id)
    assert ShadowSample(experiment, 1).holds(tenant, post_id)


def test_the_place_of_a_post_is_the_same_in_every_release() -> None:
    # Two versions may judge side by side: a change here would tear their samples apart.
    assert [place("retrained", "acme", "post 1"), place("retrained", "acme", "пост")] == PLACES


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_a_share_holds_about_its_part_of_the_posts(share: float) -> None:
    posts = 40_000
    held = sum(ShadowSample("e", share).holds("acme", f"post {number}") for number in range(posts))
    assert abs(held - posts * share) < 5 * (posts * share * (1 - share)) ** 0.5


def test_two_experiments_choose_apart() -> None:
    one, other = ShadowSample("retrained", 0.1), ShadowSample("base", 0.1)
    chosen = [post for post in map(str, range(40_000)) if one.holds("acme", post)]
    both = sum(other.holds("acme", post) for post in chosen)
    assert abs(both - len(chosen) / 10) < 5 * (len(chosen) * 0.09) ** 0.5


def test_no_name_moves_characters_into_the_next() -> None:
    names = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ('a","b', "c", "d")]
    assert len({place(*name) for name in names}) == len(names)


def test_a_sample_that_is_cut_and_grown_again_holds_what_it_held() -> None:
    posts = [str(number) for number in range(2_000)]
    steps = [
        {post for post in posts if ShadowSample("e", share).holds("acme", post)}
        for share in (0.5, 0.2, 0.05, 0.01)
    ]
    assert all(less < more for more, less in pairwise(steps))


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="give one from 0 to 1"):
        ShadowSample("e", share)
