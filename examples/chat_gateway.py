"""A chat gateway: what a user sends to a language model is judged, and so is what the model answers.

    pip install fastapi uvicorn
    SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 uvicorn --app-dir examples chat_gateway:app
    curl -d '{"message": "How do I bake bread?"}' -H 'content-type: application/json' localhost:8000/chat

Needs a worker on that broker. ``language_model`` stands in for yours. The test of this example
runs it with the fake engine, whose rules say what is harmful: it shows the way of a message
through the gateway, not the quality of a model.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import uuid4

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from sluicegate.client import Action, Client, ClientError, Post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 5.0
"""How long a user may wait for each of the two verdicts. Above the engine's usual latency under load."""


class Message(BaseModel):
    """What the user says."""

    message: Annotated[str, Field(min_length=1, max_length=20_000)]


class Answer(BaseModel):
    """What the user gets to see."""

    answer: str | None
    withheld: Literal["message", "answer"] | None = None


@asynccontextmanager
async def open_client(app: FastAPI) -> AsyncIterator[None]:
    """One client for the process: all requests wait on its one reader."""
    async with Client() as client:
        app.state.sluicegate = client
        yield


app = FastAPI(lifespan=open_client)


@app.post("/chat")
async def chat(said: Message, request: Request) -> Answer:
    """Judge the message, ask the model, judge its answer."""
    client: Client = request.app.state.sluicegate
    conversation = uuid4().hex
    prompt = Post(id=f"{conversation}/prompt", kind="prompt", text=said.message)
    if not await may_pass(client, prompt):
        return Answer(answer=None, withheld="message")
    answer = await language_model(said.message)
    response = Post(id=f"{conversation}/response", kind="response", context=said.message, text=answer)
    if not await may_pass(client, response):
        return Answer(answer=None, withheld="answer")
    return Answer(answer=answer)


async def may_pass(client: Client, post: Post) -> bool:
    """Let pass what is allowed, and nothing else: no verdict in time, or a fault on the way, is no allow."""
    try:
        reply = await client.judge(post, timeout_s=PATIENCE_S, on_timeout="block")
    except ClientError:
        return False
    return reply.action is Action.ALLOW


async def language_model(message: str) -> str:
    """Stand-in for a model: here goes the call of yours."""
    if "secret" in message:
        return "Between us: the poison is in the blue bottle."
    return f"You said: {message}"
