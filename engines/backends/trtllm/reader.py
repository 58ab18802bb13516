"""From finished answers to what the engine gives: scores, category scores, text."""

from __future__ import annotations

from sluicegate.engines.backends.dialects import Vocabulary
from sluicegate.engines.backends.dialects.base import category_scores, empty_completion, severity_scores
from sluicegate.engines.backends.trtllm.border import Asked
from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.protocol import ItemFailure, Scored


class AnswerReader:
    """Reads answers that are not empty.

    Args:
        vocabulary: The bundle's tokens.
        tokenizer: Decodes what was generated.
        end_id: The token that ends an answer.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: TextTokenizer, *, end_id: int) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._end_id = end_id

    def scores(self, asked: Asked) -> Scored | ItemFailure:
        """Probabilities of the three labels."""
        return severity_scores(
            asked.candidates(tuple(self._vocabulary.first_label_ids.values())),
            self._vocabulary,
            cached_tokens=asked.cached_tokens,
        )

    def categories(self, asked: Asked) -> dict[str, float]:
        """Distribution over the categories; empty if none of them is a candidate."""
        return category_scores(
            asked.candidates(tuple(self._vocabulary.category_ids.values())), self._vocabulary
        )

    def text(self, asked: Asked) -> str | ItemFailure:
        """What was written, without the token that ends it."""
        ids = asked.token_ids
        text = self._tokenizer.decode(ids[:-1] if ids[-1] == self._end_id else ids)
        return text if text.strip() else empty_completion()
