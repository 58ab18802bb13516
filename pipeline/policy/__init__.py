"""Policy: who decides, and how. The language is described in docs/policy.md."""

from sluicegate.pipeline.policy.policy import SEVERITY, Decision, Policy
from sluicegate.pipeline.policy.yaml_text import DocumentFault, InvalidPolicyError

__all__ = ["SEVERITY", "Decision", "DocumentFault", "InvalidPolicyError", "Policy"]
