"""What models and their servers answer, and texts long enough to be cut."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import strategies as st

from fuzz.mutations import CHARACTERS, json_like, spoiled
from fuzz.target import Target
from sluicegate.engines.backends.dialects import DIALECTS, Completion, Vocabulary, make_dialect
from sluicegate.engines.bundle.manifest import Label, LabelMap
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import Explanation, ItemFailure, Scored
from sluicegate.engines.text.forms import PLAIN, RULES, fold
from sluicegate.engines.text.forms.folding import GROWTH
from sluicegate.engines.text.parsing import one_line, parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.schemas import CATEGORIES, NO_CATEGORY, Post, Turn
from support.small_bundle import small_tokenizer

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from sluicegate.schemas import Kind

_KINDS: tuple[Kind, ...] = ("post", "prompt", "response")
_TOKENIZER = small_tokenizer()
_VOCABULARY = Vocabulary.of(
    _TOKENIZER,
    LabelMap(
        **{
            name.lower(): Label(f" {name}", tuple(_TOKENIZER.encode_static(f" {name}")))
            for name in ("Safe", "Controversial", "Unsafe")
        }
    ),
    {name: _TOKENIZER.encode_static(f" {name}")[0] for name in (*CATEGORIES, NO_CATEGORY)},
)
_SEGMENTER = Segmenter(Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400))
_FOLDING = Segmenter(Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=400), folds=True)
_MOST_SEGMENTS = 40


def check_folded(raw: bytes) -> None:
    """A text's folded form is bounded, names its rules, and is its own folded form."""
    text = raw.decode(errors="replace")
    found = fold(text)
    assert len(found.text) <= GROWTH * len(text)
    assert list(found.rules) == [rule for rule in RULES if rule in found.rules]
    assert found.differs == (not PLAIN.issuperset(found.rules))
    assert fold(found.text).text == found.text
    if text.strip():
        (parts,) = _FOLDING.build_many([Post(id="p", text=text)], [LengthLimits(10**6, _MOST_SEGMENTS)])
        (plain,) = _SEGMENTER.build_many([Post(id="p", text=text)], [LengthLimits(10**6, _MOST_SEGMENTS)])
        if isinstance(plain, ItemFailure):
            assert parts == plain
        elif isinstance(parts, ItemFailure):
            assert parts.detail.startswith("folded form: ")
            # It is refused for being beyond its limits, and for nothing else.
            limits = LengthLimits(2 * 10**6, _MOST_SEGMENTS)
            (alone,) = _SEGMENTER.build_many([Post(id="p", text=found.text)], [limits])
            assert isinstance(alone, ItemFailure)
        else:
            assert tuple(part for part in parts.parts if not part.folded) == plain.parts
            assert len(parts.parts) <= 2 * _MOST_SEGMENTS


def check_answer(raw: bytes) -> None:
    """Whatever a server answers, each prompt gets scores that sum to one, or a failure."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    for name in DIALECTS:
        dialect = make_dialect(name, _VOCABULARY, model="m")
        for count in (1, 2) if dialect.list_prompts > 1 else (1,):
            found = dialect.read_scores(body, count)
            assert len(found) == count
            for one in found:
                assert isinstance(one, Scored | ItemFailure)
                if isinstance(one, Scored):
                    assert 0 <= one.label_mass <= 1
                    assert one.cached_tokens >= 0
        explained = dialect.read_explanation(body)
        assert isinstance(explained, Completion | ItemFailure)
        if isinstance(explained, Completion):
            assert all(0 <= share <= 1 for share in explained.category_scores.values())
            check_explanation(explained.text.encode(errors="surrogatepass"))
        for status in (200, 400, 500):
            assert dialect.is_too_long(status, body) in (True, False)


def check_explanation(raw: bytes) -> None:
    """Whatever a model writes, only known categories, Yes or No and one printable line come of it."""
    text = raw.decode(errors="surrogatepass" if _is_text(raw) else "replace")
    for kind in _KINDS:
        found = parse_explanation(text, kind, CATEGORIES)
        if isinstance(found, ItemFailure):
            continue
        assert isinstance(found, Explanation)
        assert set(found.categories) <= set(CATEGORIES)
        assert (found.refusal is not None) == (kind == "response")
        if found.reason is not None:
            assert 0 < len(found.reason) <= 400
            assert len(found.reason.splitlines()) == 1
            assert one_line(found.reason) == found.reason


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode(errors="surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def check_long_post(raw: bytes) -> None:
    """Every character of a long text is judged in some segment, in order, or the post is refused as too long."""
    text = raw.decode(errors="replace") or "."
    context = (Turn(role="user", text=text[:700]), Turn(role="assistant", text="."))
    posts = [
        Post(id="1", text=text),
        Post(id="2", text=text, kind="response", context=context, language="de", region="DE"),
    ]
    for post, found in zip(
        posts, _SEGMENTER.build_many(posts, [LengthLimits(100_000, _MOST_SEGMENTS)] * 2), strict=True
    ):
        if isinstance(found, ItemFailure):
            continue
        assert isinstance(found, Parts)
        assert 1 <= len(found.parts) <= _MOST_SEGMENTS
        assert all(len(part.prompt.token_ids) <= 400 for part in found.parts)
        read = 0
        for part in found.parts:
            assert part.start <= read < part.end
            read = part.end
        assert read == len(post.text)


_SCORES = {
    _TOKENIZER.decode([ids[0]]): math.log(share)
    for ids, share in zip(_VOCABULARY.label_ids.values(), (0.7, 0.2, 0.1), strict=True)
}
_BY_ID = {f"token_id:{ids[0]}": math.log(0.3) for ids in _VOCABULARY.label_ids.values()}
_LLAMA = [{"id": ids[0], "logprob": math.log(0.3)} for ids in _VOCABULARY.label_ids.values()]
_USAGE = {"prompt_tokens_details": {"cached_tokens": 7}}
_ANSWERS: list[Any] = [
    {
        "choices": [
            {"index": 0, "text": " Safe", "logprobs": {"tokens": [" Safe"], "top_logprobs": [_SCORES]}}
        ],
        "usage": _USAGE,
    },
    {
        "choices": [
            {"index": index, "text": "x", "logprobs": {"tokens": ["x"], "top_logprobs": [_BY_ID]}}
            for index in (1, 0)
        ]
    },
    {"choices": [{"text": " Violent, PII\nRefusal: Yes\nReason: a threat", "logprobs": None}]},
    {
        "content": " Violent",
        "completion_probabilities": [{"top_logprobs": _LLAMA}],
        "timings": {"cache_n": 3},
    },
    {"error": {"type": "exceed_context_size_error", "message": "context length"}},
]
_EXPLANATIONS = [
    "\nCategories: None",
    "\nCategories: Violent, PII\nReason: a threat",
    "\nCategories: Suicide & Self-Harm\nRefusal: No\nReason: asks for help",
    "\nCategories: Jailbreak\nRefusal: Yes",
]
_long_texts: SearchStrategy[bytes] = st.lists(
    st.tuples(
        st.sampled_from((*CHARACTERS, "A sentence. ", "a. ", "word ", "。", "\n", "7", "?!", " ")),
        st.sampled_from((1, 3, 30, 300)),
    ),
    max_size=12,
).map(lambda parts: "".join(text * times for text, times in parts).encode(errors="replace"))
_disguised: SearchStrategy[bytes] = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *CHARACTERS,
                "k1ll ",
                "k i l l ",
                "a.",
                "lll",
                "е",
                "ѕ",
                "ｋ",
                "𝐤",
                "亻",
                "言",
                "們",
                "们",
                "\u0336",
                "\u200c",
                "ـ",
                "ا",
                "ก",
                "5",
                "-",
                "我_",
                "@",
                "$",
                "b0mb",
                "\u202e",
                "XVI",
                "ﷺ",
                "ё",
                "A ",
                "\u0316\u0301",
            )
        ),
        st.sampled_from((1, 1, 1, 2, 4, 300)),
    ),
    max_size=14,
).map(lambda parts: "".join(text * times for text, times in parts).encode(errors="replace"))

TARGETS = [
    Target("answers", json_like(_ANSWERS), check_answer),
    Target(
        "explanations",
        spoiled(st.sampled_from(_EXPLANATIONS).map(str.encode)),
        check_explanation,
    ),
    Target("folded", spoiled(_disguised), check_folded),
    Target("long_posts", spoiled(_long_texts), check_long_post),
]
