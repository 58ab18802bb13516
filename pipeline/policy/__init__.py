"""Policy: who decides, and how. The language is described in docs/policy.md."""

from sluicegate.pipeline.policy.decider import FAILURE_MODE
from sluicegate.pipeline.policy.policy import Policy
from sluicegate.pipeline.policy.yaml_text import InvalidPolicyError

__all__ = [
    "FAILURE_MODE",
    "InvalidPolicyError",
    "Policy",
    "account",
    "checks",
    "diff",
    "document",
    "file",
    "rules",
    "yaml_text",
]
"""What other rooms may import: these names, and these modules."""
