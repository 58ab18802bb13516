"""Documents that operators write: the policy, and the settings with their environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from hypothesis import strategies as st

from fuzz.mutations import CHARACTERS, json_like, spoiled
from fuzz.target import Target
from sluicegate.pipeline.errors import PolicyError, SettingsError
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import load_settings, variable
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import Action, Post, Scores

_ROOT = Path(__file__).resolve().parents[2]
_POLICY_FILES = sorted((_ROOT / "pipeline" / "policy" / "shipped").glob("*.yaml"))
_SCORES = [Scores(safe=a, controversial=b, unsafe=c) for a, b, c in ((1, 0, 0), (0, 1, 0), (0.1, 0.2, 0.7))]
_STRANGER = [
    Post(id="1", text="x", tenant="nobody-knows"),
    Post(id="1", text="x", tenant="nobody-knows", kind="response", region="DE", language="de"),
]
_ENVIRONMENT = b"#env "
"""A line of a settings input that begins so sets a variable: NAME=VALUE."""


def check_policy(raw: bytes) -> None:
    """A policy that decides every post, or one sentence with a place."""
    try:
        policy = Policy.from_bytes(raw, "policy.yaml")
    except PolicyError as error:
        told = str(error)
        assert told.startswith("policy.yaml:")
        assert neutral(told, len(told) + 1) == told
        return
    assert policy.digest == Policy.from_bytes(raw, "policy.yaml").digest
    for post in _STRANGER:
        assert policy.decide_failure(post).action is not Action.ALLOW  # nobody wrote rules for this tenant
        for scores in _SCORES:
            assert policy.decide(post, scores).disposition
            policy.needs_explanation(post, scores)


def check_settings(raw: bytes) -> None:
    """Settings with a digest, or one sentence; nothing else, and no secret in it."""
    lines = raw.split(b"\n")
    environment = dict(
        os.fsdecode(line.removeprefix(_ENVIRONMENT)).replace("\0", "").partition("=")[::2]
        for line in lines
        if line.startswith(_ENVIRONMENT)
    )
    environment = {name: value for name, value in environment.items() if name}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, environment, clear=True):
        path = Path(folder) / "settings.yaml"
        path.write_bytes(b"\n".join(line for line in lines if not line.startswith(_ENVIRONMENT)))
        try:
            settings = load_settings(path)
        except SettingsError as error:
            told = str(error)
        else:
            assert settings.digest.startswith("sha256:")
            told = repr(settings)
    assert told.strip()
    assert "hunter2" not in told


_SETTINGS: list[Any] = [
    {
        "kafka": {
            "bootstrap_servers": "b1:9092,b2:9092",
            "group": "guard",
            "security": {
                "protocol": "SASL_SSL",
                "ca_file": "/etc/ca.pem",
                "username": "guard",
                "password": "hunter2",
            },
        },
        "engine": {"backend": "completions", "url": "http://engine:8000", "api_key": "hunter2"},
        "window": {"posts": 100, "bytes": 2_000_000},
        "drain": {"budget_s": 60, "finish_s": 20.5},
        "policy": {"path": "/etc/policy.yaml"},
        "tracing": {"enabled": True, "endpoint": "http://collector:4318/v1/traces"},
    },
    {},
]
_VARIABLES = [
    variable("kafka", "group"),
    variable("kafka"),
    variable("kafka", "security", "password"),
    variable("window", "posts"),
    variable("engine", "nothing"),
    "SLUICEGATE_KAFKA_GROUP",
    "SLUICEGATE_NOWHERE__X",
    "sluicegate_ops__port",
]
_assignments = st.builds(
    lambda name, value: b"\n#env " + name.encode() + b"=" + value,
    st.sampled_from(_VARIABLES),
    st.sampled_from((b"1", b"-1", b"", b"[1]", b'{"group": "g"}', b"[" * 2000, b"\xff", b"SSL", b"1e999"))
    | st.sampled_from(CHARACTERS).map(lambda text: text.encode(errors="replace").replace(b"\n", b""))
    | st.binary(max_size=6).map(lambda raw: raw.replace(b"\n", b"")),
)

TARGETS = [
    Target(
        "policies",
        json_like([yaml.safe_load(path.read_bytes()) for path in _POLICY_FILES])
        | spoiled(st.sampled_from([path.read_bytes() for path in _POLICY_FILES])),
        check_policy,
    ),
    Target(
        "settings",
        st.builds(
            lambda tree, more: tree + b"".join(more), json_like(_SETTINGS), st.lists(_assignments, max_size=3)
        ),
        check_settings,
    ),
]
