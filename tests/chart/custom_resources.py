"""What the chart uses of other projects' resources, as compact schemas of our own.

Written from their documentation, not taken from their definitions: KEDA 2.17 `keda.sh/v1alpha1` (ScaledObject,
TriggerAuthentication, the scalers apache-kafka and prometheus), Prometheus operator `monitoring.coreos.com/v1`,
Strimzi `kafka.strimzi.io/v1`. A field that the chart does not use is missing here, and so refused.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT: Schema = {"type": "integer", "minimum": 1}
SECRET_KEY: Schema = {
    "type": "object",
    "properties": {"parameter": TEXT, "name": TEXT, "key": TEXT},
    "required": ["parameter", "name", "key"],
    "additionalProperties": False,
}


def closed(properties: Schema, *optional: str) -> Schema:
    """An object with these fields and no others."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema, "minItems": 1}


def resource(api_version: str, kind: str, spec: Schema) -> Schema:
    return closed(
        {
            "apiVersion": {"const": api_version},
            "kind": {"const": kind},
            "metadata": {"type": "object"},
            "spec": spec,
        }
    )


_KAFKA_TRIGGER = closed(
    {
        "type": {"const": "kafka"},
        "metricType": {"const": "AverageValue"},
        # Every value is text: KEDA refuses numbers.
        "metadata": closed(
            {
                "bootstrapServers": TEXT,
                "consumerGroup": TEXT,
                "topic": TEXT,
                "lagThreshold": {"type": "string", "pattern": "^[1-9][0-9]*$"},
                "offsetResetPolicy": {"enum": ["earliest", "latest"]},
                "tls": {"enum": ["enable", "disable"]},
                "sasl": {"enum": ["none", "plaintext", "scram_sha256", "scram_sha512"]},
            }
        ),
        "authenticationRef": closed({"name": TEXT}),
    },
    "authenticationRef",
    "metricType",  # the chart before has none
)
_PROMETHEUS_TRIGGER = closed(
    {
        "type": {"const": "prometheus"},
        "metricType": {"enum": ["AverageValue", "Value"]},
        "metadata": closed({"serverAddress": TEXT, "query": TEXT, "threshold": TEXT}),
    }
)
_SCALED_OBJECT = closed(
    {
        "scaleTargetRef": closed(
            {"apiVersion": TEXT, "kind": TEXT, "name": TEXT, "envSourceContainerName": TEXT}
        ),
        "pollingInterval": COUNT,
        "minReplicaCount": COUNT,
        "maxReplicaCount": COUNT,
        "fallback": closed(
            {
                "failureThreshold": COUNT,
                "replicas": COUNT,
                "behavior": {
                    "enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
                },
            }
        ),
        "advanced": closed({"horizontalPodAutoscalerConfig": closed({"behavior": {"type": "object"}})}),
        "triggers": many({"oneOf": [_KAFKA_TRIGGER, _PROMETHEUS_TRIGGER]}),
    },
    "fallback",
    "pollingInterval",  # of the chart before
)
_TRIGGER_AUTHENTICATION = closed(
    {
        "env": many(closed({"parameter": TEXT, "name": TEXT, "containerName": TEXT})),
        "secretTargetRef": many(SECRET_KEY),
    },
    "env",
)
_POD_MONITOR = closed(
    {
        "selector": closed({"matchLabels": TEXTS}),
        "podMetricsEndpoints": many(
            closed(
                {
                    "port": TEXT,
                    "path": TEXT,
                    "interval": TEXT,
                    "scrapeTimeout": TEXT,
                    "relabelings": many({"type": "object"}),
                    "metricRelabelings": many({"type": "object"}),
                },
                *("scrapeTimeout", "relabelings", "metricRelabelings"),
            )
        ),
    }
)
_PROMETHEUS_RULE = closed(
    {
        "groups": many(
            closed(
                {
                    "name": TEXT,
                    "rules": many(
                        closed(
                            {"alert": TEXT, "expr": TEXT, "for": TEXT, "labels": TEXTS, "annotations": TEXTS}
                        )
                    ),
                }
            )
        )
    }
)
_KAFKA_TOPIC = closed(
    {"topicName": TEXT, "partitions": COUNT, "replicas": COUNT, "config": {"type": "object"}}
)
_ACL = closed(
    {
        "resource": closed(
            {"type": {"enum": ["topic", "group"]}, "name": TEXT, "patternType": {"const": "literal"}}
        ),
        "operations": many({"enum": ["Describe", "Read", "Write"]}),
    }
)
_KAFKA_USER = closed(
    {
        "authentication": closed({"type": {"enum": ["scram-sha-512", "tls", "tls-external"]}}),
        "authorization": closed({"type": {"const": "simple"}, "acls": many(_ACL)}),
    }
)

SCHEMAS = {
    kind: resource(version, kind, spec)
    for version, kind, spec in (
        ("keda.sh/v1alpha1", "ScaledObject", _SCALED_OBJECT),
        ("keda.sh/v1alpha1", "TriggerAuthentication", _TRIGGER_AUTHENTICATION),
        ("monitoring.coreos.com/v1", "PodMonitor", _POD_MONITOR),
        ("monitoring.coreos.com/v1", "PrometheusRule", _PROMETHEUS_RULE),
        ("kafka.strimzi.io/v1", "KafkaTopic", _KAFKA_TOPIC),
        ("kafka.strimzi.io/v1", "KafkaUser", _KAFKA_USER),
    )
}
