"""What is wrong with a policy file, on which line, and what would be right."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.layers import KINDS
from sluicegate.pipeline.policy.yaml_text import MOST_BYTES, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "name: a\nversion: '1'\n"


def faults(text: str) -> list[str]:
    with pytest.raises(InvalidPolicyError) as refused:
        Policy.from_bytes(text.encode(), "p.yaml")
    return [fault.sentence("p.yaml") for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.yaml: policy: is no mapping; begin with `name: …` and `version: …`"),
        ("- a\n", "p.yaml:1: policy: is no mapping"),
        ("name: [\n", "p.yaml:2: policy: no YAML"),
        ("version: '1'\n", "p.yaml:1: name: is missing; write text"),
        ("name: a\nversion: 1.0\n", 'p.yaml:2: version: `1.0` cannot be used; write text of 1 to 64 characters, in quotes if it looks like a number: version: "1"'),
        (HEAD + "rule: {}\n", "p.yaml:3: rule: is unknown here; did you mean `rules`?"),
        (HEAD + "rules:\n  blok_at: {}\n", "p.yaml:4: rules.blok_at: is unknown here; did you mean `block_at`?"),
        (HEAD + "rules:\n  block_at:\n    safe: 0.1\n", "p.yaml:5: rules.block_at.safe: is unknown here; did you mean `unsafe`?"),
        (HEAD + "rules:\n  block_at:\n    unsafe: 1.5\n", "p.yaml:5: rules.block_at.unsafe: `1.5` cannot be used; write a number from 0 to 1, such as 0.8"),
        (HEAD + "rules: {block_at: {risk: '0.5'}}\n", "p.yaml:3: rules.block_at.risk: `0.5` cannot be used; write a number"),
        (HEAD + "rules: {block_at: {risk: true}}\n", "rules.block_at.risk: `true` cannot be used"),
        (HEAD + "rules: {block_at: 0.5}\n", "p.yaml:3: rules.block_at: `0.5` cannot be used"),
        (
            HEAD + "rules: {failure_mode: allow}\n",
            (
                "rules.failure_mode: `allow` would hold for tenants that the policy does not know; "
                "write it under `tenants`, for those that chose to fail open"
            ),
        ),
        (HEAD + "rules: {failure_mode: ignore}\n", "rules.failure_mode: `ignore` cannot be used; write allow, review or block"),
        (HEAD + "rules: {explain_responses: 1}\n", "rules.explain_responses: `1` cannot be used; write true or false"),
        (HEAD + "rules: {max_wait_seconds: 0}\n", "rules.max_wait_seconds: `0` cannot be used; write a number of seconds above 0"),
        (HEAD + "rules: {max_tokens: 1.5}\n", "rules.max_tokens: `1.5` cannot be used; write a whole number"),
        (HEAD + "rules: {preset: strickt}\n", "rules.preset: `strickt` cannot be used; write strict, balanced or loose"),
        (HEAD + "rules: {dispositions: {ban: x}}\n", "rules.dispositions.ban: `ban` cannot be used; write allow, review or block with a name"),
        (HEAD + "rules: {dispositions: {block: 'Rm -rf'}}\n", "rules.dispositions.block: `Rm -rf` cannot be used"),
        (HEAD + "rules: {dispositions: {block: {posts_per_hour: 2}}}\n", "rules.dispositions.block.name: is missing; write allow, review or block with a name such as rate_limit"),
        (HEAD + "rules: {dispositions: {block: {name: a, deep: {er: 1}}}}\n", "rules.dispositions.block"),
        (HEAD + "rules:\n  categories:\n    Self-Harm: {block_at: {unsafe: 0.5}}\n", "p.yaml:5: rules.categories.Self-Harm: is no category that is known; did you mean `Suicide & Self-Harm`?"),
        (HEAD + "rules: {categories: {None: {block_at: {unsafe: 0.5}}}}\n", "put these values one level up"),
        (HEAD + "rules: {categories: {PII: {failure_mode: block}}}\n", "rules.categories.PII.failure_mode: is unknown here; known here: applies_at, block_at, dispositions, review_at"),
        (HEAD + "kinds: {comment: {}}\n", "kinds.comment: `comment` cannot be used; write post, prompt or response"),
        (HEAD + "tenants: {'../x': {}}\n", "tenants.../x: `../x` cannot be used; write names"),
        (HEAD + "tenants: {a: {block_at: {unsafe: 0.5}}}\n", "tenants.a.block_at: is unknown here; known here: kinds, rules"),
        (HEAD + "overrides:\n  - rules: {explain_at: 0.1}\n", "p.yaml:4: overrides[1].when: is missing; name at least one"),
        (HEAD + "overrides:\n  - when: {}\n    rules: {explain_at: 0.1}\n", "p.yaml:4: overrides[1].when: holds for every post; name at least one"),
        (HEAD + "overrides:\n  - when: {region: germany}\n    rules: {}\n", "overrides[1].when.region: `germany` cannot be used; write an ISO 3166 code"),
        (HEAD + "overrides:\n  - when: {regions: DE}\n    rules: {}\n", "overrides[1].when.regions: is unknown here; did you mean `region`?"),
        (HEAD + "overrides:\n  - when: {region: DE}\n    block_at: {unsafe: 0.1}\n", "overrides[1].block_at: is unknown here; known here: rules, when"),
        (HEAD + "overrides: {region: DE}\n", "p.yaml:3: overrides: a mapping cannot be used; write a list"),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_place_and_what_would_be_right(text: str, sentence: str) -> None:
    assert any(sentence in found for found in faults(text)), faults(text)


def test_every_fault_is_listed_in_the_order_of_the_file() -> None:
    text = HEAD + "rules:\n  block_at: {unsafe: 2}\n  failure_mode: no\ntenant: {}\n"
    found = faults(text)
    assert [re.findall(r"^p\.yaml:(\d+)", one) for one in found] == [["4"], ["5"], ["6"]]
    with pytest.raises(
        PolicyError, match=r"^p\.yaml:4.*\(and 2 more: `sluicegate policy check` lists them\)$"
    ):
        Policy.from_bytes(text.encode(), "p.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            HEAD + "rules:\n  block_at: {unsafe: 0.5}\n  review_at: {unsafe: 0.9}\n",
            "p.yaml:5: rules.review_at.unsafe: 0.9 can never fire: block_at.unsafe = 0.5 is reached first; set it below 0.5, or to null",
        ),
        (  # that a category has values of its own, which are reached, does not help the general one
            HEAD + "rules:\n  block_at: {unsafe: 0.5}\n  review_at: {unsafe: 0.9}\n  categories:\n    PII:\n"
            "      block_at: {unsafe: null}\n      review_at: {unsafe: 0.7}\n",
            "p.yaml:5: rules.review_at.unsafe: 0.9 can never fire: block_at.unsafe = 0.5 is reached first",
        ),
        (
            HEAD + "rules:\n  block_at: {unsafe: null, risk: 0.5}\n  review_at: {unsafe: 0.5}\n",
            "rules.review_at.unsafe: 0.5 can never fire: block_at.risk = 0.5 is reached first",
        ),
        (
            HEAD + "rules:\n  review_at: {unsafe: 0, risk: 0.5}\n",
            "rules.review_at.risk: 0.5 can never fire: review_at.unsafe = 0 is reached first; set it to null, or leave it out",
        ),
        (
            HEAD + "rules:\n  block_at: {unsafe: 0}\n  review_at: {risk: 0.5}\n",
            "rules.review_at.risk: 0.5 can never fire: block_at.unsafe = 0 is reached first; set it to null, or leave it out",
        ),
        (
            HEAD + "rules:\n  categories:\n    PII:\n      review_at: {unsafe: 0.8}\n",
            "p.yaml:6: rules.categories.PII.review_at.unsafe: 0.8 can never fire: block_at.unsafe = 0.8 is reached first",
        ),
        (
            HEAD + "tenants:\n  a:\n    rules: {review_at: {unsafe: 0.85}}\n",
            "p.yaml:5: tenants.a.rules.review_at.unsafe: 0.85 can never fire",
        ),
        (
            HEAD + "tenants:\n  a:\n    rules: {explain_at: 0.1}\noverrides:\n  - when: {tenant: a}\n    rules: {explain_at: 0.2}\n",
            "p.yaml:5: tenants.a.rules.explain_at: never holds: overrides[1].rules.explain_at on line 8 replaces it",
        ),
        (
            HEAD + "rules: {failure_mode: block}\nkinds:\n" + "".join(
                f"  {kind}: {{failure_mode: review}}\n" for kind in ("post", "prompt", "response")
            ),
            "p.yaml:3: rules.failure_mode: never holds: kinds.post.failure_mode on line 5 replaces it",
        ),
        (
            HEAD + "overrides:\n"
            + "".join(
                f"  - when: {{region: {region}}}\n    rules: {{max_tokens: 9}}\n" for region in ("DE", "[DE, AT]")
            ),
            "p.yaml:5: overrides[1].rules.max_tokens: never holds: overrides[2].rules.max_tokens on line 7 replaces it",
        ),
    ],
)  # fmt: skip
def test_what_can_never_decide_is_a_fault(text: str, sentence: str) -> None:
    (found,) = faults(text)
    assert sentence in found


@pytest.mark.parametrize(
    "text",
    [
        # The tenant's own block takes the general review over; for everybody else it fires.
        HEAD + "tenants: {a: {rules: {block_at: {unsafe: 0.2}}}}\n",
        HEAD + "rules: {block_at: {unsafe: 0.2}}\n",  # what is built in is nobody's fault
        HEAD + "rules: {preset: loose, review_at: {unsafe: 0.3}}\n",
        HEAD + "rules: {block_at: {unsafe: null}, review_at: {unsafe: null, risk: null}}\n",
        # Used for prompts and posts.
        HEAD + "rules: {failure_mode: block}\nkinds: {response: {failure_mode: review}}\n",
        HEAD + "overrides:\n  - when: {region: US}\n    rules: {max_tokens: 9}\n"
        "  - when: {region: US-CA}\n    rules: {max_tokens: 8}\n",
        # General review values that only a category still uses.
        HEAD + "rules:\n  block_at: {unsafe: 0.3}\n  review_at: {unsafe: 0.5}\n"
        "  categories: {PII: {block_at: {unsafe: 0.9}}}\n",
    ],
)
def test_what_decides_for_somebody_is_none(text: str) -> None:
    assert Policy.from_bytes(text.encode(), "p.yaml").name == "a"


def test_a_policy_that_tells_too_many_posts_apart_is_refused_and_not_looked_through() -> None:
    regions = ", ".join(f"DE-{number}" for number in range(100, 400))
    languages = ", ".join(f"en-{number}" for number in range(100, 400))
    (found,) = faults(
        HEAD
        + f"overrides:\n  - when: {{region: [{regions}], language: [{languages}]}}\n    rules: {{max_tokens: 1}}\n"
    )
    # Three kinds, the default tenant and all others' together, each name and none of them.
    assert f"tells {len(KINDS) * 1 * 301 * 301:,} combinations" in found


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("region: NO", {"region": "NO"}),  # a country, no truth value
        ("a: yes\nb: true\nc: ~\nd:", {"a": "yes", "b": True, "c": None, "d": None}),
        (
            "a: 1_000\nb: 012\nc: 2026-01-01\nd: 12:30",
            {"a": "1_000", "b": 12, "c": "2026-01-01", "d": "12:30"},
        ),
        ("a: 1e-1\nb: .5\nc: -3\nd: '1'\ne: 0x10", {"a": 0.1, "b": 0.5, "c": -3, "d": "1", "e": "0x10"}),
        ("1: a\ntrue: b", {"1": "a", "true": "b"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ],
)
def test_yaml_is_read_without_surprises(text: str, data: object) -> None:
    assert read_yaml(text).data == data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "p.yaml:3: a: stands twice, first on line 1; keep one of them"),
        ("a: !!python/object:os.system x\n", "p.yaml:1: a: `"),
        ("a: &x [*x]\n", "too large or too deeply nested"),
        ("[a]: 1\n", "a key that is no plain text"),
        ("a: " + "[" * 2000, "no YAML"),
        ("a: " + "{a: " * 30 + "1" + "}" * 30, "too large or too deeply nested"),
        ("a: 123456789012345678901234567890\n", "`int` is no kind of value here"),
        (f"a: 0.{'1' * 39}\n", "`float` is no kind of value here"),
        ("a: b\n---\nc: d\n", "no YAML"),
    ],
)
def test_yaml_beyond_what_a_policy_needs_is_refused_with_its_line(text: str, said: str) -> None:
    (found,) = faults(text)
    assert said in found


def test_a_small_file_that_unfolds_to_a_huge_one_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in faults("\n".join(lines))[0]


def test_a_file_that_is_missing_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    with pytest.raises(PolicyError, match=r"cannot be read .*sluicegate policy new"):
        Policy.load(path)
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(PolicyError, match="more than"):
        Policy.load(path)
    path.write_bytes(b"name: a\nversion: \xff\n")
    with pytest.raises(PolicyError, match=r"p\.yaml:2: is no UTF-8 text"):
        Policy.load(path)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert Policy.from_bytes(b"\xef\xbb\xbf" + HEAD.encode(), "p.yaml").name == "a"


@given(text=st.text(max_size=200) | st.text("abn:{}[]-#&*!|>'\" \n\t0.5,?%@`~", max_size=80))
def test_any_text_is_a_policy_or_one_sentence_about_what_is_wrong(text: str) -> None:
    said = ""
    try:
        Policy.from_bytes(text.encode("utf-8", "surrogatepass"), "p.yaml")
    except PolicyError as error:
        said = str(error)
    assert said.startswith("p.yaml") or not said
    assert "\n" not in said


@pytest.mark.parametrize(
    "line",
    [
        '"\\e[31mred\\nx": 1',
        "rules: {explain_at: !%1b%5b31m 1}",
        'name: "a\\x9b31mb"',
        'name: "a\\u202eb"',
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(line: str) -> None:
    named = "" if line.startswith("name") else "name: p\n"
    with pytest.raises(InvalidPolicyError) as caught:
        Policy.from_bytes(f"{named}version: '1'\n{line}\n".encode(), "p.yaml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("hidden", ["\\0", "\\x9b", "\\u202e", "\\u200b", "\\n"])
@pytest.mark.parametrize(
    "line", ['extra_categories: ["Fraud%s"]', 'rules: {categories: {"Fraud%s": {applies_at: 0.5}}}']
)
def test_a_category_hides_and_reorders_nothing(line: str, hidden: str) -> None:
    (found,) = faults(HEAD + line % hidden + "\n")
    assert "Fraud" in found
    assert found.isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # Python 3.13 calls it otherwise.
        (
            'name: "\\UFFFFFFFF"\n',
            f"no YAML ({'ValueError' if sys.version_info >= (3, 13) else 'OverflowError'})",
        ),
        ("%YAML 1." + "1" * 5000 + "\n---\nname: a\n", "no YAML (ValueError)"),
        ("a: !!int abc\n", "p.yaml:1: a: `int` is no kind of value here"),
        ("a: !!float abc\n", "p.yaml:1: a: `float` is no kind of value here"),
        ("a: !!bool maybe\n", "p.yaml:1: a: `bool` is no kind of value here"),
        ("a: !!null nothing\n", "p.yaml:1: a: `null` is no kind of value here"),
    ],
)
def test_what_the_yaml_library_stumbles_over_is_a_fault_of_the_file(text: str, said: str) -> None:
    (found,) = faults(text)
    assert said in found
