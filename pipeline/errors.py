"""Everything that the pipeline raises. Each message is one sentence and the fix."""


class PipelineError(Exception):
    """Base of all pipeline errors."""


class SettingsError(PipelineError):
    """Settings that cannot work. The message names the fields and a working pair."""


class PolicyError(PipelineError):
    """A policy file that cannot be used. The message names file, place, fault and what would be right."""


class PublishError(PipelineError):
    """The producer is dead for good (a fatal librdkafka error): the process must end and start again."""


class StartError(PipelineError):
    """The worker cannot start on this machine or cluster as it is."""


class ClusterError(PipelineError):
    """The Kafka cluster cannot be reached, or refuses what is asked. The message names what to check."""


class DemoError(PipelineError):
    """A demo or a bench of this machine cannot go on. The message says what ended or is missing, and where its log is."""


class JudgeError(PipelineError):
    """A text cannot be judged here. The message says what stands against it."""


class BenchError(PipelineError):
    """A load cannot be planned, sent or reported. The message says what would do."""


class ReviewError(PipelineError):
    """The review desk cannot work as it is set up. The message says what would do."""


class CandidateError(PipelineError):
    """A fact about a candidate that may not follow. The message says who may do what instead."""


class SignatureError(PipelineError):
    """A key that cannot sign or be checked. The message says which one, and how to make one."""


class PatternError(PipelineError):
    """A shared pattern, a feed or a circle that cannot be used. The message says what would do."""
