"""The gateway beside its own upstream, asked directly: what deciding, logging and passing on adds to an answer.

The model says 32 pieces at 50 a second, 0.1 s after it is asked. 100 clients, who begin one after the other, ask again
as soon as they are answered; in rows of their own all of them ask in the same moment. An overhead is a quantile through
the gateway less the same quantile without it; both take turns in the same run, and a figure is the median of the
rounds. Model, clients and gateway share the machine's cores, each a process of its own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import msgspec
import numpy as np

from benchmarks.decide import fdatasync
from benchmarks.gateway_parties import PIECES, Load, Result
from benchmarks.report import Row, main
from benchmarks.serving_processes import Server, bondhu, free_port, hurried, ready, start
from benchmarks.serving_slices import PRIORITY

DEPLOYED = """
[domain]
name = "chat"
[context]
text = {{ kind = "text", buckets = 128 }}
topic = {{ kind = "category", values = ["code", "writing", "maths", "facts", "advice", "chat", "other"] }}
complexity = {{ kind = "number", range = [0, 1], bins = 5 }}
retry = {{ kind = "category", values = ["no", "yes"] }}
[actions]
style = ["plain", "brief", "steps"]
model = ["small", "large"]
[strategies.style.brief]
system = "Answer in at most three sentences."
[strategies.style.steps]
system = "Think it through step by step."
[strategies.model.small]
upstream = "local"
model = "small"
[strategies.model.large]
upstream = "local"
model = "large"
[upstreams.local]
url = "http://127.0.0.1:{port}/v1"
prices = {{ small = [0.1, 0.4], large = [2.0, 8.0] }}
[gateway]
dollars_per_day = 100000.0
[reward.signals]
accept = 1.0
retry = -0.3
cost = {{ weight = 0.0, range = [0, 1000] }}
latency = {{ weight = 0.0, range = [0, 3600] }}
tokens_in = {{ weight = 0.0, range = [0, 10000000] }}
tokens_out = {{ weight = 0.0, range = [0, 10000000] }}
failed = 0.0
disconnected = 0.0
[schedule]
enabled = false
"""
GOALS = {50: 3.0, 99: 15.0}  # ms, by percentile
CLIENTS = 100
PEERS = "BONDHU_GATEWAY_PEERS"  # a Python that has LiteLLM's proxy
DIRECT = "the model itself"


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    seconds, rounds = (2.5, 2) if quick else (8.0, 5)
    with parties() as (model, gateway):
        yield Row("fdatasync of a 4 KiB write, p50", fdatasync(gateway.log.parent, 300) * 1e3, "ms")
        for streams in (True, False):
            load = Load(0, streams, CLIENTS, seconds)
            yield from overheads(load, model, gateway, rounds)
        yield from overheads(Load(0, True, CLIENTS, seconds, named=True), model, gateway, rounds)
        yield from burst(model, gateway, 2 * rounds)
        yield from saturated(model, gateway, 1.0 if quick else 3.0, rounds)
        memory = max(rss(pid) for pid in gateway.pids())
        yield Row("memory of the gateway's largest process afterwards", memory, "MiB")
    yield from peers(quick)


@contextmanager
def parties() -> Iterator[tuple[Server, Server]]:
    """The model and a gateway in front of it."""
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        port = free_port()
        model = start(["benchmarks.gateway_parties", "model", str(port)], port, folder / "model.log")
        stack.callback(model.stop)
        listening(port)
        (folder / "bondhu.toml").write_text(DEPLOYED.format(port=port))
        gateway = bondhu(folder)
        stack.callback(gateway.stop)
        ready(gateway)
        for named in (False, True):  # what is imported, compiled or begun on first use is there now, all threads too
            run(Load(gateway.port, True, CLIENTS, 0.5, 0.0, named))
        yield model, gateway


def overheads(load: Load, model: Server, gateway: Server, rounds: int) -> Iterator[Row]:
    """Quantiles through the gateway less those without it."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    failed, cpu, answers = 0, 0.0, 0
    for _ in range(rounds):
        direct = run(replaced(load, model.port), model)
        before = gateway.cpu()
        through = run(replaced(load, gateway.port), model, gateway)
        cpu, answers = cpu + gateway.cpu() - before, answers + len(through.total)
        failed += through.failed + direct.failed
        for what, mine, theirs in (("first", through.first, direct.first), ("total", through.total, direct.total)):
            for percentile in GOALS:
                pair = quantile(mine, percentile), quantile(theirs, percentile)
                found.setdefault((what, percentile), []).append(pair)
    name = "stream" if load.streams else "whole answer"
    name += ", each from somebody known" if load.named else ""
    for (what, percentile), pairs in found.items():
        if what == "first" and not load.streams:
            continue
        added = median(mine - theirs for mine, theirs in pairs)
        goal = GOALS[percentile]
        which = "to its first byte" if what == "first" else "until it is whole"
        title = f"{load.clients} at once: {name}, {which}, p{percentile}: added"
        yield Row(title, added, "ms", f"<= {goal:g}", added <= goal, DIRECT, median(each for _, each in pairs))
    yield Row(f"{load.clients} at once: {name}: failed", failed, "answers", "0", failed == 0)
    yield Row(f"{load.clients} at once: {name}: CPU of the gateway for each answer", cpu / answers * 1e3, "ms")


def burst(model: Server, gateway: Server, rounds: int) -> Iterator[Row]:
    """All of them in the same moment: the last one waits until all others were decided on and asked for."""
    load = Load(0, True, CLIENTS, 2.0, burst=True)
    rest = [
        (run(replaced(load, model.port), model), run(replaced(load, gateway.port), model, gateway))
        for _ in range(rounds)
    ]
    for percentile in GOALS:
        pairs = [(quantile(mine.first, percentile), quantile(theirs.first, percentile)) for theirs, mine in rest]
        added = median(mine - theirs for mine, theirs in pairs)
        title = f"{CLIENTS} in the same moment: stream, to its first byte, p{percentile}: added"
        yield Row(title, added, "ms", peer=DIRECT, peer_value=median(each for _, each in pairs))


def saturated(model: Server, gateway: Server, seconds: float, rounds: int) -> Iterator[Row]:
    """How many answers a second, of a model that does not think."""
    for streams in (True, False):
        load = Load(0, streams, CLIENTS, seconds, 0.0)
        pairs = [
            (run(replaced(load, gateway.port)).answers, run(replaced(load, model.port)).answers) for _ in range(rounds)
        ]
        mine, theirs = (median(pair[which] for pair in pairs) / seconds for which in (0, 1))
        name = f"streams of {PIECES} pieces that come at once" if streams else "whole answers that come at once"
        yield Row(name, mine, "answers/s", peer=DIRECT, peer_value=theirs)


def peers(quick: bool) -> Iterator[Row]:
    """LiteLLM's proxy in front of the same model, where there is one."""
    python = os.environ.get(PEERS, "")
    if not python:
        print(f"LiteLLM is left out: {PEERS} names no Python that has its proxy.", file=sys.stderr)
        return
    seconds, rounds = (2.5, 1) if quick else (8.0, 3)
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        folder, port = Path(temporary), free_port()
        model = start(["benchmarks.gateway_parties", "model", str(port)], port, folder / "model.log")
        stack.callback(model.stop)
        listening(port)
        (folder / "litellm.yaml").write_text(
            "model_list:\n  - model_name: tiny\n    litellm_params:\n      model: openai/tiny\n"
            f"      api_base: http://127.0.0.1:{port}/v1\n      api_key: none\n"
        )
        proxy = litellm(python, folder)
        stack.callback(proxy.stop)
        listening(proxy.port)
        for streams in (True, False):
            for row in overheads(Load(0, streams, CLIENTS, seconds), model, proxy, rounds):
                yield Row(f"LiteLLM: {row.name}", row.value, row.unit, peer=row.peer, peer_value=row.peer_value)


def litellm(python: str, folder: Path) -> Server:
    """The proxy on this machine alone, without keys, as the gateway beside it, and with nothing to fetch first."""
    port = free_port()
    command = [str(Path(python).with_name("litellm")), "--config", str(folder / "litellm.yaml"), "--port", str(port)]
    command += ["--host", "127.0.0.1"]
    told = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (folder / "litellm.log").open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **told}
        )
    return Server(process, port, folder / "litellm.log")


def run(load: Load, *hurrying: Server) -> Result:
    """The clients, as a process of their own; they and these servers go before other work, if they may."""
    command = [sys.executable, "-m", "benchmarks.gateway_parties", "clients", msgspec.json.encode(load).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as clients:
        pids = [clients.pid, *(pid for each in hurrying for pid in each.pids())] if hurrying else []
        with hurried(pids, PRIORITY):
            told, _ = clients.communicate()
    result = msgspec.json.decode(told, type=Result)
    if not result.answers:
        raise RuntimeError(f"Nothing was answered at port {load.port}: {result.failed} failed.")
    return result


def replaced(load: Load, port: int) -> Load:
    return msgspec.structs.replace(load, port=port)


def quantile(seconds: Sequence[float], percentile: int) -> float:
    """In milliseconds."""
    return float(np.percentile(seconds, percentile)) * 1e3


def listening(port: int, within: float = 60.0) -> None:
    """Wait until somebody listens."""
    end = monotonic() + within
    while True:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if monotonic() > end:
            raise RuntimeError(f"Nobody listens at port {port}.")
        sleep(0.05)


def rss(pid: int) -> float:
    """MiB."""
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main("gateway", measure)
