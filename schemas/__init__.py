"""Event contracts: what enters and leaves Sluicegate's topics.

Every model here is frozen, tolerant of fields it does not know (records written by a
newer version stay readable) and only ever grows: see ``docs/contract.md``. This package
imports nothing of ours.
"""

from sluicegate.schemas.assessment import (
    CATEGORIES,
    NO_CATEGORY,
    AssessedBy,
    Assessment,
    ExplainedBy,
    FailureCode,
    Scores,
    Severity,
)
from sluicegate.schemas.codec import Rejection, decode_post, encode
from sluicegate.schemas.deadletter import DeadLetter, Origin, ReasonCode, dead_letter_id
from sluicegate.schemas.feedback import Feedback
from sluicegate.schemas.made_verdict import MadeVerdict, RaisedVerdict, verdict_bytes
from sluicegate.schemas.post import Kind, Post, Turn
from sluicegate.schemas.resolution import (
    Authority,
    Basis,
    Resolution,
    ResolutionCause,
    feedback_id,
    resolution_id,
)
from sluicegate.schemas.verdict import (
    SHARED_PATTERN,
    Action,
    EngineRef,
    Failure,
    PolicyRef,
    Segments,
    Timings,
    Verdict,
    WithheldBlock,
    content_hash,
    verdict_id,
)

__all__ = [
    "CATEGORIES",
    "NO_CATEGORY",
    "SHARED_PATTERN",
    "Action",
    "AssessedBy",
    "Assessment",
    "Authority",
    "Basis",
    "DeadLetter",
    "EngineRef",
    "ExplainedBy",
    "Failure",
    "FailureCode",
    "Feedback",
    "Kind",
    "MadeVerdict",
    "Origin",
    "PolicyRef",
    "Post",
    "RaisedVerdict",
    "ReasonCode",
    "Rejection",
    "Resolution",
    "ResolutionCause",
    "Scores",
    "Segments",
    "Severity",
    "Timings",
    "Turn",
    "Verdict",
    "WithheldBlock",
    "content_hash",
    "dead_letter_id",
    "decode_post",
    "encode",
    "feedback_id",
    "resolution_id",
    "verdict_bytes",
    "verdict_id",
]
