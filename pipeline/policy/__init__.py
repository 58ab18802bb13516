"""Policy: who decides, and how. The language is described in docs/policy.md."""

from sluicegate.pipeline.policy.faults import Fault, InvalidPolicyError
from sluicegate.pipeline.policy.policy import SEVERITY, Decision, Policy

__all__ = ["SEVERITY", "Decision", "Fault", "InvalidPolicyError", "Policy"]
