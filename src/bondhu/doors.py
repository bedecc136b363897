"""The policy of `[privacy]` where requests and imported rows come in: before anything is decided, logged or learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from bondhu.ports import Domain
from bondhu.privacy import Masks, masks_of
from bondhu.serve.messages import Request
from bondhu.settings import Settings
from bondhu.types import Decision


def masks(settings: Settings, domain: Domain) -> Masks | None:
    """What `[privacy]` says of this domain; None where everything is stored as it is. Raises SettingsInvalid."""
    privacy = settings.privacy
    salt = privacy.salt.get_secret_value() if privacy.salt else None
    kinds = {each["name"]: each["kind"] for each in domain.describe()["fields"]}
    return masks_of({"user": privacy.user, "session": privacy.session}, privacy.fields, salt, kinds)


def door(masks: Masks | None) -> Callable[[Request], Request] | None:
    """What every request goes through; None where nothing is to be done, so that it costs nothing."""
    if masks is None:
        return None

    def masked(request: Request) -> Request:
        user, session = request.user, request.session
        return replace(
            request,
            context=masks.context(request.context) if isinstance(request.context, Mapping) else request.context,
            user=masks.name(user),
            session=masks.of_session(session, user),
        )

    return masked


def imported(masks: Masks | None, decisions: Sequence[Decision]) -> Sequence[Decision]:
    """Rows of an import as the door would have let them in."""
    return decisions if masks is None else [_imported(masks, each) for each in decisions]


def _imported(masks: Masks, row: Decision) -> Decision:
    alone = row.session == row.id
    session = row.session if alone else masks.of_session(row.session, row.user)
    return row._replace(context=masks.context(row.context), user=masks.name(row.user), session=session or row.session)
