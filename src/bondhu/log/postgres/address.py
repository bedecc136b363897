"""Where a PostgreSQL store is, and how to connect to it. Who prints it sees no password."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg  # type: ignore[import-untyped]  # it ships no types

from bondhu.errors import SettingsInvalid
from bondhu.log.postgres.schema import IN_USE

CONNECTING = 5.0  # seconds to wait for a connection

SESSION = {
    "application_name": "bondhu",
    "synchronous_commit": "on",  # a commit is on disk when it returns, whatever the server's default
    "default_transaction_isolation": "read committed",  # a statement sees what was committed when it began
    # Plans are kept while tables grow from nothing to millions of rows; a walk over all rows is never what we want.
    "enable_seqscan": "off",
    "jit": "off",  # it costs more than it brings for statements as small as ours
    "idle_in_transaction_session_timeout": "60s",  # a client that is gone does not keep others waiting
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


class Address:
    """An address such as postgresql://user@host:5432/database, and the password if the address has none."""

    def __init__(self, where: str, password: str | None = None) -> None:
        try:
            parts = urlsplit(where)
            host, port = parts.hostname or "", parts.port
            user = parts.username or ""
        except ValueError:  # its text would show the address
            raise _invalid() from None
        self._where, self._password = where, password or None
        who = f"{user}@" if user else ""
        self.name = f"PostgreSQL at {who}{host or 'localhost'}{f':{port}' if port else ''}{parts.path}"

    def __repr__(self) -> str:
        return self.name

    async def connect(self, **settings: str) -> Any:
        """A connection that belongs to the running event loop, and while it lives keeps others from restoring a backup
        over the log: whoever remembers something of the tables by the connection may rely on it. Raises what asyncpg
        raises: LockNotAvailableError while somebody does restore one."""
        connection = await self.reach(**settings)
        timer = asyncio.get_running_loop().call_later(CONNECTING, connection.terminate)
        try:
            if not await connection.fetchval("SELECT pg_try_advisory_lock_shared($1)", IN_USE):
                raise asyncpg.LockNotAvailableError("a backup is being restored")
        except BaseException:
            connection.terminate()
            raise
        finally:
            timer.cancel()
        return connection

    async def reach(self, **settings: str) -> Any:
        """A connection that keeps nobody from anything."""
        try:
            return await asyncpg.connect(
                self._where, password=self._password, timeout=CONNECTING, server_settings={**SESSION, **settings}
            )
        except (asyncpg.ClientConfigurationError, UnicodeError, ValueError) as error:
            if isinstance(error, asyncpg.PostgresError | OSError):
                raise
            raise _invalid() from None

    def for_programs(self) -> tuple[str, dict[str, str]]:
        """The address without its password, and the environment that has it, for PostgreSQL's own programs."""
        parts = urlsplit(self._where)
        asked = dict(parse_qsl(parts.query))
        password = self._password or asked.pop("password", None) or (parts.password and unquote(parts.password))
        _, at, host = parts.netloc.rpartition("@")
        user = f"{quote(unquote(parts.username), safe='')}{at}" if parts.username else ""
        bare = parts._replace(netloc=f"{user}{host}", query=urlencode(asked)).geturl()
        return bare, {"PGPASSWORD": password} if password else {}


def _invalid() -> SettingsInvalid:
    fix = "Write it as postgresql://user@host:5432/database, and the password into BONDHU_STORE__PASSWORD."
    return SettingsInvalid("The store's address cannot be read.", field="store.log", fix=fix)
