"""The model that turns a message into the vector of the field `embedding`: a folder on this machine (extra `llm`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bondhu.app import App
from bondhu.errors import SettingsInvalid

FIELD = "embedding"  # of the context
SETTING = f"gateway.{FIELD}"


@dataclass
class Embedding:
    """Makes vectors of texts; the model is loaded for the first of them, and several threads take turns by themselves.

    A server asks for one when it starts, so that what is wrong with the model is said then."""

    folder: Path
    size: int  # numbers of a vector, as declared
    _encode: Callable[[str], Any] | None = field(default=None, repr=False)

    def __call__(self, text: str) -> list[float]:
        """Raises SettingsInvalid where the model cannot be loaded, or makes vectors of another size."""
        if self._encode is None:
            self._encode = self._loaded()
        vector: list[float] = self._encode(text).tolist()
        return vector

    def _loaded(self) -> Callable[[str], Any]:
        from sentence_transformers import SentenceTransformer  # an extra, and slow to import

        try:
            model = SentenceTransformer(str(self.folder), local_files_only=True)
        except Exception as error:  # each part of a model has errors of its own
            what = f"The model in {self.folder} cannot be loaded: {error}."
            fix = "Name a folder that `SentenceTransformer.save` has written."
            raise SettingsInvalid(what, field=SETTING, value=str(self.folder), fix=fix) from error
        size = len(model.encode("", show_progress_bar=False))
        if size != self.size:
            what = f"The model in {self.folder} makes vectors of {size} numbers, and {self.size} are declared."
            fix = f"Write size = {size} below [context.{FIELD}], or name another model."
            raise SettingsInvalid(what, field=f"context.{FIELD}.size", value=self.size, fix=fix)
        return lambda text: model.encode(text, show_progress_bar=False)


def embedding_of(app: App) -> Embedding | None:
    """As the settings say; None where they name no model. Raises SettingsInvalid; loads nothing."""
    if app.settings.gateway is None or app.settings.gateway.embedding is None:
        return None
    named = app.settings.gateway.embedding
    kept = app.settings.gateway.prompt
    if kept != "store":
        what = f'{SETTING} is set, and gateway.prompt is "{kept}": vectors are logged, and tell much of the text.'
        fix = f'Take {SETTING} out, or keep redacted prompts: prompt = "store".'
        raise SettingsInvalid(what, field=SETTING, value=str(named), fix=fix)
    folder = app.settings.path(named)
    fields: list[Mapping[str, Any]] = app.domain.describe()["fields"]
    declared = next((each for each in fields if (each["name"], each["kind"]) == (FIELD, "vector")), None)
    if declared is None:
        what = f"{SETTING} names a model, but no field {FIELD!r} of kind vector is declared."
        fix = f'Add [context.{FIELD}] with kind = "vector" and its size, or take the setting out.'
        raise SettingsInvalid(what, field=SETTING, value=str(named), fix=fix)
    if not folder.is_dir():
        what, fix = f"There is no folder {folder}.", "Name the folder of a model of sentence-transformers."
        raise SettingsInvalid(what, field=SETTING, value=str(named), fix=fix)
    if not _installed("sentence_transformers"):
        what, fix = f"{SETTING} needs sentence-transformers.", "Install it with `pip install 'bondhu[llm]'`."
        raise SettingsInvalid(what, field=SETTING, value=str(named), fix=fix)
    return Embedding(folder, declared["size"])


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that stands in for it
        return True
