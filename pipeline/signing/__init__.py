"""Signatures of what people and institutions say. Needs the library ``cryptography``, which no worker loads."""

__all__ = ["ed25519"]
"""Modules that other rooms may import."""
