"""A STAND-IN for the command ``trtllm-serve``: its flags as documented for 1.2.1, the repository's stub behind them.

No model and no GPU: it answers as ``contract.stub_server`` does for this flavour, which shows that a rendered worker
asks as described, not that the description is true. xllamacpp's server would have a model, but neither this command
nor this endpoint: its candidates have another shape.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml
from aiohttp import web

from contract.stub_server import StubServer

SLOW = "a slow one"
"""A post with this is answered after some seconds."""
SERIES = "trtllm_request_success_total 3.0\n"
"""All of its metrics."""


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser("trtllm-serve", allow_abbrev=False)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--backend", choices=["tensorrt", "pytorch"], required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--extra_llm_api_options", dest="config", type=Path, required=True)
    parser.add_argument("--host", default="localhost")
    for name in ("port", "max_batch_size", "max_num_tokens", "max_seq_len"):
        parser.add_argument(f"--{name}", type=int, required=True)
    told = parser.parse_args()
    built = json.loads((told.model / "config.json").read_text(encoding="utf-8"))["build_config"]
    for name in ("max_batch_size", "max_num_tokens", "max_seq_len"):
        assert getattr(told, name) <= built[name], f"the engine was not built for this {name}"
    assert (told.tokenizer / "tokenizer.json").is_file()
    options = yaml.safe_load(told.config.read_text(encoding="utf-8"))
    assert options["gather_generation_logits"] is True
    assert options["return_perf_metrics"] is True, "without it there is no /prometheus/metrics"
    stub = StubServer("trtllm_chat", faults={"slow": SLOW})
    application = web.Application()
    application.router.add_post(stub.wire.path, stub._handle)
    application.router.add_get("/health", _health)
    application.router.add_get("/prometheus/metrics", _metrics)
    web.run_app(application, host=told.host, port=told.port)


async def _health(_request: web.Request) -> web.Response:
    return web.Response()


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(text=SERIES)


if __name__ == "__main__":
    main()
