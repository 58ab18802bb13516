"""Everything that the client raises. No message holds the text of a post."""

from __future__ import annotations

from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.kafka.producer import TOO_LARGE

_NO_TOPIC = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}
"""Kafka's names of a topic that nobody has."""


class ClientError(PipelineError):
    """Base of the client's errors."""


class NotDeliveredError(ClientError):
    """The brokers have not confirmed a post: there is no promise to judge it.

    Attributes:
        post_id: The post.
        reason: Kafka's name of the fault, such as ``MSG_SIZE_TOO_LARGE`` or ``_MSG_TIMED_OUT``.
        fatal: True where this producer delivers nothing any more; open a new one.
    """

    def __init__(self, post_id: str, reason: str, *, fatal: bool = False, fix: str = "") -> None:
        if reason in TOO_LARGE:
            fix = "it is larger than a record may be: shorten it, or raise max.message.bytes of the topic"
        elif reason in _NO_TOPIC:
            fix = "the posts topic is not there, or not for this user: `sluicegate topics create` makes it; then send it again"
        fix = fix or "it is safe to send it again"
        super().__init__(f"post {post_id} was not delivered ({reason}); {fix}")
        self.post_id = post_id
        self.reason = reason
        self.fatal = fatal


class NoVerdictError(ClientError, TimeoutError):
    """No verdict came in time, and the caller chose to be told. The post may still be judged later.

    Attributes:
        post_id: The post.
    """

    def __init__(self, post_id: str, timeout_s: float, trouble: str | None) -> None:
        cause = f"the verdict topics answer {trouble}" if trouble else "are workers running, and keeping up?"
        super().__init__(f"no verdict on post {post_id} within {timeout_s:g} s; {cause}")
        self.post_id = post_id


class DeadLetteredError(ClientError):
    """The worker buried the post: it can never be judged as it is.

    Attributes:
        post_id: The post.
        code: Why, such as ``oversize``.
        detail: Which field broke which rule, never its value.
        dead_letter_id: Names the dead letter on its topic.
    """

    def __init__(self, post_id: str, code: str, detail: str, dead_letter_id: str) -> None:
        super().__init__(f"post {post_id} can never be judged ({code}): {detail}")
        self.post_id = post_id
        self.code = code
        self.detail = detail
        self.dead_letter_id = dead_letter_id


class HandlerError(ClientError):
    """A handler failed on a record as often as it may; its own exception is the cause.

    The record is not committed: the next consumer gets it again.

    Attributes:
        verdict_id: The verdict, or the resolution.
        post_id: Its post.
        attempts: How often the handler was called.
    """

    def __init__(self, verdict_id: str, post_id: str, attempts: int, *, kind: str = "verdict") -> None:
        super().__init__(
            f"the handler failed {attempts} times on {kind} {verdict_id} of post {post_id}; "
            "it is not committed, and comes again"
        )
        self.verdict_id = verdict_id
        self.post_id = post_id
        self.attempts = attempts


class ClientClosedError(ClientError):
    """The client is not open, or was closed while this call waited."""
