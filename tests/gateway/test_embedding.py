"""[gateway] embedding: a model of sentence-transformers makes the vector that a strategy is chosen by."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bondhu.app import App, open_app
from bondhu.errors import SettingsInvalid
from bondhu.serve.replies import Message
from bondhu.server.assembly import make_asgi
from bondhu.server.embedding import Embedding, embedding_of
from bondhu.settings import load
from tests.gateway.place import folder, served
from tests.gateway.scripted import Model, either, model

DECLARED = 'embedding = { kind = "vector", size = 3, bits = 4 }'
ASKED = {"messages": [{"role": "user", "content": "Write to ann@example.org, please."}]}


class StandIn:
    """As much of SentenceTransformer as is used: the vector of a text is its length, its words, and 1."""

    def __init__(self, name: str, *, local_files_only: bool) -> None:
        if not local_files_only or not (Path(name) / "modules.json").exists():
            raise OSError("no modules.json")

    def encode(self, text: str, *, show_progress_bar: bool) -> Any:
        assert not show_progress_bar
        return np.array([len(text), len(text.split()), 1.0], np.float32)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = StandIn  # type: ignore[attr-defined]  # what stands in
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


@pytest.fixture(scope="module")
def tiny() -> Iterator[Model]:
    with model() as made:
        made.plays(either())
        yield made


def place(path: Path, to: Model | str = "http://127.0.0.1:9/v1", context: str = DECLARED) -> Path:
    made = folder(path, {"local": to}, context=context, gateway='embedding = "vectors"')
    (made / "vectors").mkdir()
    (made / "vectors" / "modules.json").write_text("[]")
    return made


def refused(path: Path) -> SettingsInvalid:
    app = open_app(load(path))
    try:
        with pytest.raises(SettingsInvalid) as caught:
            loaded(app)
    finally:
        app.stores.close()
    return caught.value


def loaded(app: App) -> None:
    embedding = embedding_of(app)
    assert embedding is not None
    embedding("")


async def started(app: App) -> None:
    await make_asgi(app)({"type": "lifespan", "state": {}}, starting, nowhere)


async def starting() -> Message:
    return {"type": "lifespan.startup"}


async def nowhere(_: Message) -> None:
    pass


@pytest.mark.usefixtures("library")
def test_the_vector_is_of_the_redacted_text_and_logged(tiny: Model, tmp_path: Path) -> None:
    with served(place(tmp_path, tiny)) as one:
        status, headers, _ = one.ask(ASKED)
        assert status == 200
        decision, _, _ = one.facts(headers["x-bondhu-decision"])
        text = "Write to <email>, please."
        assert decision.context["embedding"] == [len(text), 4.0, 1.0]
        sent = one.ask({**ASKED, "metadata": {"embedding": "[9, 9, 9]"}})[1]["x-bondhu-decision"]
        assert one.facts(sent)[0].context["embedding"] == decision.context["embedding"]  # nobody sends one


@pytest.mark.usefixtures("library")
def test_the_size_has_to_be_the_declared_one(tmp_path: Path) -> None:
    error = refused(place(tmp_path, context=DECLARED.replace("3", "384")))
    assert error.field == "context.embedding.size"
    assert "size = 3" in error.fix


@pytest.mark.usefixtures("library")
def test_a_server_does_not_start_with_a_model_of_another_size(tmp_path: Path) -> None:
    path = place(tmp_path, context=DECLARED.replace("3", "384"))
    app = open_app(load(path))
    with closing(app.stores), pytest.raises(SettingsInvalid, match="384 are declared"):
        asyncio.run(started(app))


@pytest.mark.usefixtures("library")
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    path = place(tmp_path)
    (path / "vectors" / "modules.json").unlink()
    assert "cannot be loaded" in str(refused(path))
    (path / "vectors").rmdir()
    error = refused(path)
    assert (error.field, "no folder" in str(error)) == ("gateway.embedding", True)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kept", ["hash", "drop"])
def test_where_nobody_is_to_read_the_prompts_there_are_no_vectors_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("BONDHU_PRIVACY__SALT", "0123456789abcdef" * 4)
    path = place(tmp_path)
    text = (path / "bondhu.toml").read_text()
    (path / "bondhu.toml").write_text(text.replace("[gateway]\n", f'[gateway]\nprompt = "{kept}"\n'))
    error = refused(path)
    assert error.field == "gateway.embedding"
    assert f'gateway.prompt is "{kept}"' in error.what
    assert 'prompt = "store"' in error.fix


@pytest.mark.usefixtures("library")
def test_the_field_has_to_be_declared(tmp_path: Path) -> None:
    error = refused(place(tmp_path, context=""))
    assert error.field == "gateway.embedding"
    assert "[context.embedding]" in error.fix


def test_the_package_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bondhu.server.embedding.find_spec", lambda _: None)
    error = refused(place(tmp_path))
    assert error.field == "gateway.embedding"
    assert "bondhu[llm]" in error.fix


def test_without_the_setting_the_application_sends_the_vector(tiny: Model, tmp_path: Path) -> None:
    with served(folder(tmp_path, {"local": tiny}, context=DECLARED)) as one:
        assert one.ask(ASKED)[0] == 400
        status, headers, _ = one.ask({**ASKED, "metadata": {"embedding": [1, 0, 2.5]}})
        assert status == 200
        assert one.facts(headers["x-bondhu-decision"])[0].context["embedding"] == [1, 0, 2.5]


@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="needs sentence-transformers (extra `llm`)")
def test_a_real_model(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that it stands on
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import BoW

        SentenceTransformer(modules=[BoW(vocab=["list", "tuple", "poem"])]).save(str(tmp_path))
        embed = Embedding(tmp_path, 3)
        assert embed("a list and a tuple") == [1.0, 1.0, 0.0]
