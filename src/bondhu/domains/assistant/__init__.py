"""The assistant: what a chat shows, the ways to answer it, what people say of answers, and the record of all of it."""

from importlib import resources


def template() -> str:
    """A commented bondhu.toml for an assistant."""
    return resources.files(__name__).joinpath("template.toml").read_text("utf-8")
