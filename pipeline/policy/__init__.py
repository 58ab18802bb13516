"""Policy: who decides, and how. The language is described in docs/policy.md."""

from sluicegate.pipeline.policy.policy import SEVERITY, Decision, Policy
from sluicegate.pipeline.policy.yaml_text import Fault, InvalidPolicyError

__all__ = ["SEVERITY", "Decision", "Fault", "InvalidPolicyError", "Policy"]
