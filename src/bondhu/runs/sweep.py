"""A search for hyper-parameters: trials proposed by Optuna's TPE, hopeless ones ended early, all kept in one folder.

    FOLDER/sweep.db          Optuna's own store; a sweep that is asked for again goes on
    FOLDER/sweep.json        what is searched, and where
    FOLDER/trials/N/         each trial as a run
    FOLDER/best.toml         for `bondhu run --preset`
    FOLDER/trials.png        every trial's result

A space is a TOML file with a table for each hyper-parameter: `low` and `high`, with `log = true` for a logarithmic
scale, or `choices = [...]`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bondhu.errors import InvalidInput, nearest
from bondhu.runs.plan import Plan, plain
from bondhu.runs.planning import known
from bondhu.runs.progress import Progress
from bondhu.runs.run import train
from bondhu.runs.seeds import STOPPED

ABOUT, STORE, BEST, PICTURE = "sweep.json", "sweep.db", "best.toml", "trials.png"
SEED = 100  # of trials: seeds that are reported are others
PRUNED = "worse than the median of the trials before"
FIX = 'Write a table for each name: low = 1e-4, high = 1e-2 (and log = true), or choices = ["tanh", "relu"].'
KEYS = ("low", "high", "log", "choices")


@dataclass(frozen=True)
class Swept:
    """What came of a sweep."""

    folder: Path
    trials: int  # over, those of before as well
    pruned: int
    value: float | None  # mean return of the best trial's last evaluation
    hyperparameters: Mapping[str, Any]  # of the best trial


def space_in(path: Path, learner: str) -> dict[str, dict[str, Any]]:
    """The space of a file. Raises InvalidInput for what is no range of a hyper-parameter of this learner."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} is no space: {error}.", field="space", value=str(path), fix=FIX) from error
    known(learner, list(table))
    for name, range_ in table.items():
        _check(name, range_)
    return table


def sweep(
    plan: Plan,
    space: Mapping[str, Mapping[str, Any]],
    folder: Path,
    trials: int,
    *,
    ask: Callable[[Progress], str] = lambda _: "",
    tell: Callable[[str], None] = lambda _: None,
) -> Swept:
    """Try until `trials` are over, counting those that the folder holds; the plan's own values are tried first."""
    if find_spec("optuna") is None:
        what = "A sweep needs the package 'optuna', which is not installed."
        raise InvalidInput(what, field="sweep", fix="Install it: pip install 'bondhu[tracking]'.")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _same(folder, plan, space)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.absolute() / STORE}")
    try:
        study = _study(optuna, storage, plan)
        first = _first(plan, space)
        if not study.trials and first:
            study.enqueue_trial(first)
        while _over(study) < trials:
            trial = study.ask()
            value = _tried(trial, plan, space, folder, ask)
            if value is None:
                break
            state, shown = value
            study.tell(trial, *state)
            tell(f"trial {trial.number}: {shown} with {json.dumps(_read(trial.params))}")
        return _told(study, plan, folder)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _same(folder: Path, plan: Plan, space: Mapping[str, Any]) -> None:
    """Write down what is searched, or raise InvalidInput where the folder holds a search for something else."""
    path, now = folder / ABOUT, json.loads(json.dumps({**plain(plan), "space": space}))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for name in (name for name in now if now[name] != before.get(name)):
        raise InvalidInput(
            f"{folder} holds a sweep with {name} {json.dumps(before.get(name))}, and this has {json.dumps(now[name])}.",
            field=name,
            value=str(now[name]),
            fix="Go on with that, or name another --folder. Nothing was overwritten.",
        )


def _read(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial took: choices are texts of JSON for Optuna."""
    return {name: json.loads(each) if isinstance(each, str) else each for name, each in params.items()}


def _study(optuna: Any, storage: Any, plan: Plan) -> Any:
    study = optuna.create_study(
        storage=storage,
        study_name=f"{plan.environment} {plan.learner} {plan.steps}",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=plan.steps // 4),
    )
    for left in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a sweep that was killed
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
    return study


def _first(plan: Plan, space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the plan has already, where it lies in the space."""
    found = {}
    for name, range_ in space.items():
        value = plan.hyperparameters.get(name)
        if "choices" in range_ and value in range_["choices"]:
            found[name] = json.dumps(value)
        elif "choices" not in range_ and value is not None and range_["low"] <= value <= range_["high"]:
            found[name] = value
    return found


def _over(study: Any) -> int:
    """Trials that say something: those that were interrupted do not count."""
    return sum(each.state.name in {"COMPLETE", "PRUNED"} for each in study.trials)


def _tried(
    trial: Any, plan: Plan, space: Mapping[str, Mapping[str, Any]], folder: Path, ask: Callable[[Progress], str]
) -> tuple[Any, str] | None:
    """One trial; None where somebody asked to stop."""
    from optuna.trial import TrialState

    chosen = {name: _suggested(trial, name, range_) for name, range_ in space.items()}
    place = folder / "trials" / str(trial.number)
    shutil.rmtree(place, ignore_errors=True)
    tried = replace(plan, hyperparameters={**plan.hyperparameters, **chosen})

    def hopeless(progress: Progress) -> str:
        if progress.last is not None and progress.evaluated > len(trial.user_attrs):
            trial.set_user_attr(f"evaluation {progress.evaluated}", progress.last)
            trial.report(progress.last, progress.steps)
            if progress.steps < plan.steps and trial.should_prune():
                return PRUNED
        return ask(progress)

    done = train(tried, place, ask=hopeless)
    if done.why == STOPPED:
        return None
    if done.why == PRUNED:
        return (None, TrialState.PRUNED), f"{done.progress.last:.6g} after {done.progress.steps:,} steps, pruned"
    assert done.progress.last is not None
    return (done.progress.last,), f"{done.progress.last:.6g}"


def _suggested(trial: Any, name: str, range_: Mapping[str, Any]) -> Any:
    if "choices" in range_:
        texts = [json.dumps(each) for each in range_["choices"]]  # lists are no choices for Optuna
        return json.loads(trial.suggest_categorical(name, texts))
    low, high, log = range_["low"], range_["high"], bool(range_.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)


def _told(study: Any, plan: Plan, folder: Path) -> Swept:
    over = [each for each in study.trials if each.state.name in {"COMPLETE", "PRUNED"}]
    complete = [each for each in over if each.value is not None]
    if not complete:
        return Swept(folder, len(over), len(over), None, {})
    best = max(complete, key=lambda each: each.value)
    hyperparameters = {**plan.hyperparameters, **_read(best.params)}
    run = {"environments": plan.environments, "phase": plan.phase, "steps": plan.steps}
    said = f"# Trial {best.number} of {len(over)}: {best.value:.6g} with seed {plan.seed} in {plan.environment}.\n"
    text = said + table("run", run) + table("learner", hyperparameters)
    rest = {"environment": plan.options, "curriculum": plan.curriculum}
    text += "".join(table(name, values) for name, values in rest.items() if values)
    (folder / BEST).write_text(text, encoding="utf-8")
    _draw(folder / PICTURE, complete)
    return Swept(folder, len(over), len(over) - len(complete), best.value, hyperparameters)


def table(name: str, values: Mapping[str, Any]) -> str:
    """A table of TOML, parts of it as tables below."""
    lines = [f"{key} = {_value(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    below = [table(f"{name}.{key}", value) for key, value in values.items() if isinstance(value, Mapping)]
    return "\n".join([f"\n[{name}]", *lines, ""]) + "".join(below)


def _value(value: Any) -> str:
    """As TOML writes it in a line: as JSON, but for tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _check(name: str, range_: Any) -> None:
    fix = 'Write low = 1e-4, high = 1e-2 (and log = true), or choices = ["tanh", "relu"].'
    if not isinstance(range_, Mapping):
        raise InvalidInput(f"{name!r} is no range.", field=name, value=range_, fix=fix)
    for key in range_:
        if key not in KEYS:
            raise InvalidInput(f"{name!r} has {key!r}.", field=f"{name}.{key}", fix=nearest(key, KEYS))
    low, high = range_.get("low"), range_.get("high")
    if range_.get("choices"):
        return
    if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
        raise InvalidInput(f"{name!r} goes from {low} to {high}.", field=name, value=str(dict(range_)), fix=fix)
    if range_.get("log") and low <= 0:
        fix = "Begin above 0."
        raise InvalidInput(f"{name!r} cannot be logarithmic from {low}.", field=name, value=low, fix=fix)


def _draw(path: Path, trials: list[Any]) -> None:
    """Each hyper-parameter against the result, one picture beside the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted({name for each in trials for name in each.params})
    params = [_read(each.params) for each in trials]
    figure = Figure(figsize=(3.2 * len(names), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        of = [each for each in trials if name in each.params]
        values = [each[name] for each in params if name in each]
        numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
        axes.scatter(values if numbers else [json.dumps(each) for each in values], [each.value for each in of], s=18)
        if all(getattr(each.distributions[name], "log", False) for each in of):
            axes.set_xscale("log")
        axes.set_xlabel(name)
        axes.set_ylabel("return")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
