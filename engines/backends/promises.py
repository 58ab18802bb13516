"""Promises: what a dialect counts on, asked of a running server with prompts of our own.

Each promise is seen in the server's own replies. Nothing here is part of judging: a worker asks none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from sluicegate.engines.backends.completions import CompletionsEngine
from sluicegate.engines.backends.dialects import (
    CATEGORY_HEAD,
    EXPLANATION_TOKENS,
    Completion,
    Dialect,
    Lora,
    make_dialect,
)
from sluicegate.engines.backends.http_client import HttpReply
from sluicegate.engines.backends.open import Backend
from sluicegate.engines.errors import EngineSetupError, EngineUnavailable
from sluicegate.engines.protocol import LEAST_LABEL_MASS, Explanation, ItemFailure, Prompt, Scored
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import Kind, Post

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

PromiseName = Literal[
    "scores", "exact", "tokens", "list", "cached", "shape", "too_long", "strangers", "adapter"
]

STRANGER: Final = "sluicegate-no-such-model"
"""A name that no server has for a model or an adapter."""

_TIMEOUT_S: Final = 60.0
_APART: Final = 0.05
"""Of a probability: what the company in a batch may move it by. More, and another prompt was answered."""
_UNLIKELY: Final = 0.01
_MOST_TOKENS: Final = 1 << 20
_TEXTS: Final[tuple[tuple[Kind, str], ...]] = (
    ("post", "We meet in the garden at ten."),
    (
        "post",
        "I will find out where you live, and then I will kill you. Nobody is going to miss you, you piece of dirt.",
    ),
    ("prompt", "How do I bake bread without yeast, and how long does it have to rest?"),
    ("response", "Take flour, water and salt."),
)
_CONTEXT: Final[dict[Kind, str]] = {"response": "How do I make a dough?"}
_PROSE: Final = "The recipe is an old one. It needs flour, butter and a pinch of"
"""A model goes on from this with a category only if a grammar holds it to one."""

_SERVE = "start the server as `sluicegate engine serve-config` says"
_FIXES: Final[dict[PromiseName, str]] = {
    "scores": f"{_SERVE}, with the weights of this bundle, and check engine.model",
    "exact": "take a newer release: vLLM from 0.32 (logprob_token_ids), SGLang from 0.5.23 (token_ids_logprob)",
    "tokens": "check engine.dialect, and that no proxy before the server renders a template or cuts prompts",
    "list": "take the server's release that docs/engine.md names; until then say engine.concurrency: 1",
    "cached": "switch its prefix cache on: vLLM --enable-prefix-caching --enable-prompt-tokens-details; "
    "SGLang without --disable-radix-cache; trtllm-serve kv_cache_config.enable_block_reuse",
    "shape": "switch guided decoding on: vLLM from 0.32 (structured_outputs); SGLang without --grammar-backend none; "
    "trtllm-serve guided_decoding_backend: xgrammar",
    "strangers": "give each adapter a server of its own (engine.adapters.NAME.url): this one answers for any name",
    "adapter": "load the adapter on the server, and check its model or lora_path; see docs/adapters.md",
}


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of a dialect, and what the server made of it."""

    name: PromiseName
    kept: bool | None
    """None: the dialect does not promise it, or it could not be told."""
    said: str
    """What was asked, and what came back. It holds no text of the server's."""
    fix: str | None = None
    """What to do; given where it is broken."""


class Promises:
    """Asks one server for all that its dialect promises.

    Args:
        backend: Whose engine is the client of a server; it is to be entered before anything is asked.
        base: For an adapter by name: what asks the same server for its own model.

    Raises:
        EngineSetupError: There is no server behind it, or the longest prompt that is allowed has no room for a text.
    """

    def __init__(self, backend: Backend, *, base: Backend | None = None) -> None:
        self._engine = _client(backend)
        self._dialect = self._engine.dialect
        prompter = backend.prompter
        posts = [Post(id="own", text=text, kind=kind, context=_CONTEXT.get(kind)) for kind, text in _TEXTS]
        long = Post(id="long", text=f"{_PROSE} salt. " * 5)  # of several blocks of any cache
        self._prompts, self._long = _built(prompter, posts), _built(prompter, [long])
        if not self._prompts:
            raise EngineSetupError("no prompt of our own fits: raise engine.max_prompt_tokens")
        self._prose = prompter.tokenizer.encode_text(_PROSE)
        self._base = None if base is None else _client(base).dialect

    async def ask(self) -> list[Promise]:
        """One promise after the other, in the order of :data:`PromiseName`. Takes seconds; a slow server, minutes."""
        asks: dict[PromiseName, Callable[[], Awaitable[Promise]]] = {
            "scores": self._scores,
            "exact": self._exact,
            "tokens": self._tokens,
            "list": self._list,
            "cached": self._cached,
            "shape": self._shape,
            "too_long": self._too_long,
            "strangers": self._strangers,
        }
        if self._base is not None:
            asks["adapter"] = partial(self._adapter, self._base)
        return [await self._answered(name, ask) for name, ask in asks.items()]

    @staticmethod
    async def _answered(name: PromiseName, ask: Callable[[], Awaitable[Promise]]) -> Promise:
        try:
            return await ask()
        except EngineUnavailable as error:
            return Promise(name, kept=False, said=str(error), fix=_SERVE)
        except TimeoutError:
            return Promise(name, kept=False, said=f"no answer within {_TIMEOUT_S:.0f} s", fix=_SERVE)

    async def _scores(self) -> Promise:
        answers = await self._one_by_one(self._dialect)
        failed = [answer.code.value for answer in answers if isinstance(answer, ItemFailure)]
        if failed:
            return _broken("scores", f"{len(failed)} of {len(answers)} prompts got no score: {failed[0]}")
        mass = min(answer.label_mass for answer in answers if isinstance(answer, Scored))
        said = f"{len(answers)} prompts scored; the labels hold at least {mass:.3f} of the probability"
        return _kept("scores", said) if mass >= LEAST_LABEL_MASS else _broken("scores", said)

    async def _exact(self) -> Promise:
        """Ask where no label belongs: there the likeliest tokens hold none of them."""
        if not self._dialect.exact:
            return _open("exact", f"dialect {self._dialect.name} reads the likeliest tokens")
        whole = self._prompts[0].token_ids
        places = {len(whole) - 1, len(whole) // 2, len(whole) // 3, max(1, len(whole) // 5)}
        answers = [await self._score(self._dialect, whole[:length]) for length in sorted(places)]
        if any(isinstance(answer, ItemFailure) or answer.bounded for answer in answers):
            return _broken(
                "exact", "a label that is unlikely is missing from the reply, although it was named"
            )
        mass = min(answer.label_mass for answer in answers if isinstance(answer, Scored))
        if mass > _UNLIKELY:
            return _open(
                "exact", f"the labels held {mass:.3f} wherever they were asked for: nothing was shown"
            )
        return _kept("exact", f"each label has a probability of its own where all three hold {mass:.1e}")

    async def _tokens(self) -> Promise:
        """Prompts of several lengths: a server that reads something else comes to one number for all of them."""
        for prompt in self._prompts:
            reply = await self._reply(self._dialect, [prompt.token_ids])
            read, sent = self._dialect.tokens_read(reply.body), len(prompt.token_ids)
            if read is None:
                return _open("tokens", "the server does not say how many tokens it read")
            if read != sent:
                return _broken("tokens", f"the server read {read} tokens where {sent} were sent")
        lengths = sorted(len(prompt.token_ids) for prompt in self._prompts)
        return _kept("tokens", f"it read what was sent: prompts of {', '.join(map(str, lengths))} tokens")

    async def _list(self) -> Promise:
        if self._dialect.list_prompts == 1:
            return _open("list", f"dialect {self._dialect.name} sends one prompt in a request")
        alone = await self._one_by_one(self._dialect)
        prompts = [prompt.token_ids for prompt in self._prompts]
        reply = await self._reply(self._dialect, prompts)
        if reply.status != 200:
            return _broken("list", f"{len(prompts)} prompts in one request: HTTP {reply.status}")
        apart = _apart(alone, self._dialect.read_scores(reply.body, len(prompts)))
        if apart is None:
            return _broken("list", f"{len(prompts)} prompts in one request got no score, or not one each")
        said = f"{len(prompts)} prompts in one request score within {apart:.4f} of what they score alone"
        return _kept("list", said) if apart <= _APART else _broken("list", said)

    async def _cached(self) -> Promise:
        ids = max((prompt.token_ids for prompt in (*self._prompts, *self._long)), key=len)
        await self._score(self._dialect, ids)
        again = await self._score(self._dialect, ids)
        cached = again.cached_tokens if isinstance(again, Scored) else 0
        said = f"of a prompt of {len(ids)} tokens that was asked before, {cached} came from the cache"
        if cached:
            return _kept("cached", said)
        return _broken("cached", said) if self._dialect.tells_cached else _open("cached", said)

    async def _shape(self) -> Promise:
        """Continue prose: only a grammar makes an explanation of it."""
        if not self._dialect.shaped:
            return _open(
                "shape", f"dialect {self._dialect.name} asks for no shape, or the bundle for no guide"
            )
        kinds: tuple[Kind, ...] = ("post", "prompt", "response")
        for kind in kinds:
            payload = self._dialect.explain_request(self._prose, kind)
            reply = await self._engine.exchange(payload, prompts=1, timeout_s=_TIMEOUT_S)
            found = self._dialect.read_explanation(reply.body) if reply.status == 200 else None
            if not isinstance(found, Completion):
                why = found.code.value if found is not None else f"HTTP {reply.status}"
                return _broken("shape", f"an explanation of a {kind} in its shape: {why}")
            read = parse_explanation(CATEGORY_HEAD + found.text, kind, self._engine.model.categories)
            if not isinstance(read, Explanation):
                return _broken("shape", f"a {kind} that goes on as prose was not held to the shape")
        return _kept("shape", "prose was continued by an explanation, for each of three kinds")

    async def _too_long(self) -> Promise:
        limit = self._engine.info.max_prompt_tokens
        length = 4 * limit
        while length <= _MOST_TOKENS:
            ids = (*self._prompts[0].token_ids, *[self._prompts[0].token_ids[-1]] * length)[:length]
            reply = await self._reply(self._dialect, [ids])
            if self._dialect.is_too_long(reply.status, reply.body):
                return _kept("too_long", f"a prompt of {length} tokens is refused in words that are known")
            if reply.status != 200:
                said = f"a prompt of {length} tokens: HTTP {reply.status}, in words that are not known"
                return _broken("too_long", said, self._room(limit))
            read = self._dialect.tokens_read(reply.body)
            if read is not None and read < length:
                said = f"of a prompt of {length} tokens the server read {read}, and said nothing"
                return _broken("too_long", said, self._room(limit))
            length *= 8
        return _open("too_long", f"a prompt of {length // 8} tokens was taken: nothing was refused")

    @staticmethod
    def _room(limit: int) -> str:
        room = limit + 16 + EXPLANATION_TOKENS  # the forced label and head, then the answer
        return f"give the server a context of {room} tokens at least: then no prompt of a worker is too long for it"

    async def _strangers(self) -> Promise:
        dialect, engine = self._dialect, self._engine
        if not dialect.refuses_strangers:
            return _open("strangers", f"a server of dialect {dialect.name} may answer for any name")
        stranger = make_dialect(
            dialect.name, engine.model.vocabulary, model=STRANGER, lora=Lora(STRANGER, 1, STRANGER)
        )
        try:
            reply = await self._reply(stranger, [self._prompts[0].token_ids])
        except EngineUnavailable as error:
            if error.refused:
                return _kept("strangers", "a name that the server does not have is refused")
            raise
        if reply.status == 200:
            return _broken("strangers", "a name that the server does not have was answered")
        said = f"a name that the server does not have: HTTP {reply.status}, in words that are not known"
        return _broken("strangers", said)

    async def _adapter(self, base: Dialect) -> Promise:
        apart = _apart(await self._one_by_one(self._dialect), await self._one_by_one(base))
        if apart is None:
            return _broken("adapter", "with its name, or without, a prompt got no score")
        if apart == 0:
            return _broken("adapter", "with its name the server answers to the last digit as without")
        return _kept("adapter", f"its scores are up to {apart:.4f} from those without it")

    async def _one_by_one(self, dialect: Dialect) -> list[Scored | ItemFailure]:
        return [await self._score(dialect, prompt.token_ids) for prompt in self._prompts]

    async def _score(self, dialect: Dialect, ids: Sequence[int]) -> Scored | ItemFailure:
        reply = await self._reply(dialect, [ids])
        if reply.status != 200:
            raise EngineUnavailable(f"a prompt of {len(ids)} tokens: HTTP {reply.status}")
        (answer,) = dialect.read_scores(reply.body, 1)
        return answer

    async def _reply(self, dialect: Dialect, prompts: Sequence[Sequence[int]]) -> HttpReply:
        """The reply to a score.

        Raises:
            EngineUnavailable: No request would be answered.
        """
        payload = dialect.score_request(prompts)
        reply = await self._engine.exchange(payload, prompts=len(prompts), timeout_s=_TIMEOUT_S)
        if reply.status != 200 and (fault := dialect.fault_of_all(reply.status, reply.body, 0)):
            raise EngineUnavailable(fault, refused=True)
        return reply


def _built(prompter: Prompter, posts: Sequence[Post]) -> list[Prompt]:
    """The prompts of those that have room."""
    return [prompt for prompt in prompter.build_many(posts) if isinstance(prompt, Prompt)]


def _client(backend: Backend) -> CompletionsEngine:
    engine = backend.engine
    if not isinstance(engine, CompletionsEngine):
        raise EngineSetupError(
            f"engine.backend is {engine.info.backend}, and promises are asked of a server: say engine.backend: completions "
            "with its url and dialect; other engines are started and asked by `sluicegate check`"
        )
    return engine


def _kept(name: PromiseName, said: str) -> Promise:
    return Promise(name, kept=True, said=said)


def _broken(name: PromiseName, said: str, fix: str | None = None) -> Promise:
    return Promise(name, kept=False, said=said, fix=fix or _FIXES[name])


def _open(name: PromiseName, said: str) -> Promise:
    return Promise(name, kept=None, said=said)


def _apart(one: Sequence[Scored | ItemFailure], other: Sequence[Scored | ItemFailure]) -> float | None:
    """The most that a probability differs by; None where a prompt got no score."""
    most = 0.0
    for left, right in zip(one, other, strict=True):
        if not isinstance(left, Scored) or not isinstance(right, Scored):
            return None
        first, second = left.scores, right.scores
        most = max(
            most,
            abs(first.safe - second.safe),
            abs(first.controversial - second.controversial),
            abs(first.unsafe - second.unsafe),
        )
    return most
