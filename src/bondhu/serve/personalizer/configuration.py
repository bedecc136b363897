"""The service's configuration: what is in force, and whether what is sent is that."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bondhu.errors import InvalidInput
from bondhu.registry.lifecycle import BASELINE, traffic
from bondhu.serve.decide import Decider
from bondhu.serve.personalizer.errors import NoSuchEvent, NotHere

DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
UNITS = (86_400.0, 3_600.0, 60.0, 1.0)  # seconds
SHORTEST_WAIT, LONGEST_WAIT = 5.0, 172_800.0  # seconds
AGGREGATIONS = {"first": "earliest", "sum": "sum"}  # ours: the service's
POLICY = "Choose a learner and its hyper-parameters in bondhu.toml: [learner]."
# fields of the configuration that say how the service itself was run; what is sent is read and answered as it is here
OWN = (
    "modelExportFrequency", "modelRetrainDays", "logMirrorEnabled", "logMirrorSasUri",
    "lastConfigurationEditDate",
    "isAutoOptimizationEnabled", "autoOptimizationFrequency", "autoOptimizationStartDate",
    "latestApprenticeModeMetrics",
)  # fmt: skip


class Kept(NamedTuple):
    """What a deployment is set to, beside what its live loop knows."""

    retain_days: float | None = None  # days that events stay in the log; None: for ever
    train_every: float = 0.0  # seconds from one scheduled training to the next; 0: none is scheduled
    train_days: float = 7.0  # days of events that a training reads
    edited: float | None = None  # seconds; when bondhu.toml was changed last


def shown(decider: Decider, kept: Kept) -> dict[str, Any]:
    """What is in force, in the service's words."""
    reward = decider.deployment.domain.reward
    days = -1 if kept.retain_days is None else math.ceil(kept.retain_days)
    edited = {} if kept.edited is None else {"lastConfigurationEditDate": moment(kept.edited)}
    return {
        "rewardWaitTime": duration(reward.wait),
        "defaultReward": reward.default,
        "rewardAggregation": AGGREGATIONS[reward.aggregate],
        "explorationPercentage": decider.exploration,
        "modelExportFrequency": duration(kept.train_every),
        "modelRetrainDays": math.ceil(kept.train_days),
        "logMirrorEnabled": False,
        "logRetentionDays": days,
        "learningMode": "Apprentice" if decider.apprentice else "Online",
        "isAutoOptimizationEnabled": False,
        **edited,
    }


def wanted(decider: Decider, kept: Kept, sent: Any) -> dict[str, Any]:
    """The settings, by dotted key, that differ from what is in force; raises InvalidInput, or NotHere for what no call
    can change."""
    if not isinstance(sent, dict):
        raise InvalidInput("The body is not an object.", fix="Send a service configuration.")
    now = shown(decider, kept)
    unknown = next((name for name in sent if name not in now and name not in OWN), None)
    if unknown is not None:
        raise InvalidInput(f"There is no setting {unknown!r}.", field=unknown, fix="Leave it out.")
    changes: dict[str, Any] = {}
    for name, value in sent.items():
        if name in _READ and value is not None:
            key, ours = _READ[name](name, value)
            if _in_force(decider, kept, key) != ours:
                changes[key] = ours
    for name in ("isAutoOptimizationEnabled", "logMirrorEnabled"):
        if sent.get(name):
            fix = "Leave it false: `bondhu evaluate` compares learners, and `bondhu export` writes the log."
            raise NotHere(f"{name} cannot be switched on.", field=name, fix=fix)
    return changes


def same(changes: Mapping[str, Any]) -> None:
    """Raises NotHere where anything differs: what is in force is what bondhu.toml says, in every process alike."""
    if changes:
        listed = ", ".join(
            f"no {key}" if value == math.inf else f"{key} = {_toml(value)}" for key, value in changes.items()
        )
        raise NotHere("Settings are not changed by a call.", fix=f"Set {listed} in bondhu.toml, then `bondhu reload`.")


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else f"{value:g}"


def _in_force(decider: Decider, kept: Kept, key: str) -> Any:
    reward = decider.deployment.domain.reward
    return {
        "reward.wait": reward.wait,
        "reward.default": reward.default,
        "reward.aggregate": reward.aggregate,
        "exploration.rate": decider.exploration,
        "release.apprentice": decider.apprentice,
        "store.retain_days": math.inf if kept.retain_days is None else math.ceil(kept.retain_days),
    }[key]


def _wait(name: str, value: Any) -> tuple[str, float]:
    seconds_ = seconds(name, value)
    if not SHORTEST_WAIT <= seconds_ <= LONGEST_WAIT:
        raise InvalidInput(
            f"{name} is {value!r}.", field=name, value=value, fix="Send PT5S (5 seconds) to P2D (2 days)."
        )
    return "reward.wait", seconds_


def _default(name: str, value: Any) -> tuple[str, float]:
    return "reward.default", _number(name, value, -1.0, 1.0)


def _aggregate(name: str, value: Any) -> tuple[str, str]:
    ours = {theirs: own for own, theirs in AGGREGATIONS.items()}.get(str(value).lower())
    if ours is None:
        raise InvalidInput(f"{name} is {value!r:.80}.", field=name, value=value, fix="Send 'earliest' or 'sum'.")
    return "reward.aggregate", ours


def _exploration(name: str, value: Any) -> tuple[str, float]:
    return "exploration.rate", _number(name, value, 0.0, 1.0)


def _mode(name: str, value: Any) -> tuple[str, bool]:
    if value == "LoggingOnly":
        fix = (
            "Set exploration to 0 and [release] automatic = false: the application's own order is then kept and logged."
        )
        raise NotHere("The learning mode 'LoggingOnly' cannot be set by a call.", field=name, value=value, fix=fix)
    if value not in ("Online", "Apprentice"):
        raise InvalidInput(f"{name} is {value!r:.80}.", field=name, value=value, fix="Send 'Online' or 'Apprentice'.")
    return "release.apprentice", value == "Apprentice"


def _retention(name: str, value: Any) -> tuple[str, float]:
    if value == -1:
        return "store.retain_days", math.inf
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name} is {value!r:.80}.", field=name, value=value, fix="Send days, or -1 for ever.")
    return "store.retain_days", value


_READ = {
    "rewardWaitTime": _wait,
    "defaultReward": _default,
    "rewardAggregation": _aggregate,
    "explorationPercentage": _exploration,
    "learningMode": _mode,
    "logRetentionDays": _retention,
}


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        fix = f"Send a number from {low:g} to {high:g}."
        raise InvalidInput(f"{name} is {value!r:.80}.", field=name, value=value, fix=fix)
    return float(value)


# ------------------------------------------------------------------------------------------- what else the service told


def policy(decider: Decider) -> dict[str, str]:
    """The live version's learner and its hyper-parameters."""
    name = decider.live.acting(decider.now()).version
    if name == BASELINE:
        return {"name": BASELINE, "arguments": ""}
    version = decider.deployment.registry.load(name)
    settings = " ".join(f"--{key} {value}" for key, value in version.hyperparameters.items() if not _nested(value))
    return {"name": version.learner, "arguments": settings[:1024]}


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def model(decider: Decider) -> dict[str, str]:
    """When the live version was made and put in force; nothing where no version is live."""
    registry, domain = decider.deployment.registry, decider.deployment.domain.name
    events = registry.events(domain)
    live = traffic(events).live
    if live is None or live == BASELINE:
        return {}
    moved = next((each.time for each in reversed(events) if each.version == live and each.kind != "judged"), None)
    found = {"creationTime": moment(registry.load(live).created)}
    return found if moved is None else {**found, "lastModifiedTime": moment(moved)}


def dates(decider: Decider) -> dict[str, Any]:
    """When the first and the last event of the log were; raises NoSuchEvent without any."""
    held = decider.deployment.log.summary(decider.deployment.domain.name)
    if held.first is None or held.last is None:
        raise NoSuchEvent("The log holds no event yet.", fix="Rank first.")
    return {"dateRange": {"from": moment(held.first), "to": moment(held.last)}}


def moment(time: float) -> str:
    """Seconds as ISO 8601."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds_: float) -> str:
    """Seconds as an ISO 8601 duration: 600 is PT10M."""
    days, rest = divmod(seconds_, UNITS[0])
    hours, rest = divmod(rest, UNITS[1])
    minutes, rest = divmod(rest, UNITS[2])
    clock = "".join(
        f"{value:g}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (round(rest, 6), "S")) if value
    )
    return f"P{f'{days:g}D' if days else ''}{f'T{clock}' if clock else ''}" if days or clock else "PT0S"


def seconds(name: str, text: Any) -> float:
    """An ISO 8601 duration in seconds; raises InvalidInput."""
    match = DURATION.fullmatch(text) if isinstance(text, str) and len(text) <= 40 else None
    if match is None or not any(match.groups()):
        raise InvalidInput(f"{name} is {text!r:.80}.", field=name, value=text, fix="Send a duration such as PT10M.")
    return sum(unit * float(part) for unit, part in zip(UNITS, match.groups(), strict=True) if part)
