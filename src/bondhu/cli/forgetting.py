"""To erase a person, and to show that it was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bondhu import screen
from bondhu.cli.shared import Directory, Here, app, opened, operator

LATEST = 2.5e11  # seconds: the last time that has four digits for its year


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="As your application sends it, or as it is stored.")],
    directory: Directory = Here,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a person out of log, archives and exports, and out of what is learned; nothing brings them back."""
    from bondhu.erasing import erase as run

    deployment = opened(directory)
    if not yes:
        typer.confirm(f"Erase everything about this person from {deployment.domain.name}?", abort=True)
    with screen.console.status("Erasing …"):
        certificate = run(deployment, user, by=operator())
    _show(certificate, deployment.live())


@app.command()
def certificates(directory: Directory = Here) -> None:
    """What was certified of erasures, and whether the certificates are as they were written."""
    from bondhu.certificates import certificates as read

    found = read(opened(directory))
    rows = [
        [
            str(each.seq),
            *_told(each.body),
            each.problem or "holds",
        ]
        for each in found
    ]
    titles = ["number", "when", "by", "subject", "decisions", "unreached", "seal"]
    screen.table(f"{len(found)} certificates", titles, rows)
    if any(each.problem for each in found):
        raise typer.Exit(1)


def _told(body: Mapping[str, Any]) -> list[str]:
    """When, by whom, of whom, how many decisions of the log and the archive, how much was not reached; "?" in the place
    of what nobody certified: whoever changed it may have written anything."""
    at, files, unreached = body.get("at"), body.get("files"), body.get("unreached")
    counts = [body.get("decisions", 0), files.get("archive", 0) if isinstance(files, Mapping) else 0]
    whole = all(isinstance(each, int) for each in counts)
    return [
        screen.moment(at) if isinstance(at, int | float) and 0 <= at < LATEST else "?",
        str(body.get("by", "")),
        str(body.get("subject", ""))[:8],
        f"{sum(counts):,}" if whole else "?",
        str(len(unreached)) if isinstance(unreached, list) else "?",
    ]


def _show(certificate: Mapping[str, Any], live: str | None) -> None:
    """What was done, what is left to do."""
    decisions, feedback = certificate["decisions"], certificate["feedback"]
    files = {place: count for place, count in certificate["files"].items() if count}
    screen.say(f"Erased {decisions:,} decisions and {feedback:,} feedback from the log.")
    for place, count in files.items():
        screen.say(f"Erased {count:,} decisions from {'the archive' if place == 'archive' else place}.")
    if certificate["marked"]:
        screen.say(f"Versions that learned from them: {', '.join(certificate['marked'])}.")
    for old, new in certificate["relearned"].items():
        if new:
            how = f": `bondhu promote {new} --over {old}` puts it in its place" if old == live else ""
            screen.say(f"Without them, {old} would be {new}{how}.")
    for each in certificate["unreached"]:
        screen.say(f"Not reached: {each['what']}: {each['why']}")
    screen.say(f"Certificate {certificate['run'][:8]}, sealed with {certificate['sealed_with']}.")
