"""Which of several processes on one PostgreSQL decides: the one whose epoch stands in the row.

An owner renews its row, and keeps a lock that the database drops when the connection ends. So a
process that has died is followed at once, one that is only silent when its time has run out.
Either way the epoch grows, and from then on the former owner's writes are refused.
"""

from sqlalchemy import Connection, Engine, false, func, or_, select, text, true, update

from service.store.database import now
from service.store.models import Owner

_LOCKS = 0x0AC75EA2
"""The space of our advisory locks, beside the epoch."""


class Claim:
    """One process's claim. Not thread-safe.

    Args:
        holder: Names this process to people.
        seconds: How long the owner may be silent.
    """

    def __init__(self, engine: Engine, holder: str, seconds: float) -> None:
        self._engine = engine
        self._holder = holder
        self._seconds = seconds
        self._connection: Connection | None = None
        self._epoch: int | None = None

    def hold(self) -> int | None:
        """Become or remain the owner; return the epoch, or None while another one is.

        Raises:
            SQLAlchemyError: If the database cannot be asked; the claim stands as it was.
        """
        try:
            connection = self._connected()
            with connection.begin():
                # Who writes holds off a new owner, who must not wait for it for ever.
                connection.execute(text("SET LOCAL lock_timeout = '2s'"))
                if self._epoch is None or not self._renew(connection, self._epoch):
                    self._epoch = self._take(connection)
        except BaseException:
            self.let_go()
            raise
        return self._epoch

    def resign(self) -> None:
        """Make way for the next owner at once."""
        if self._epoch is not None:
            connection = self._connected()
            with connection.begin():
                connection.execute(
                    update(Owner).where(Owner.epoch == self._epoch).values(expires_at=0.0)
                )
            self._epoch = None

    def let_go(self) -> None:
        """Drop the connection, and with it the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._epoch is not None:
                with self._connection.begin():
                    _keep_lock(self._connection, self._epoch)
        return self._connection

    def _renew(self, connection: Connection, epoch: int) -> bool:
        renewed = connection.execute(
            update(Owner)
            .where(Owner.epoch == epoch)
            .values(expires_at=now() + self._seconds)
            .returning(Owner.epoch)
        )
        return renewed.first() is not None

    def _take(self, connection: Connection) -> int | None:
        before = connection.execute(select(Owner.epoch)).scalar_one()
        is_gone = connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCKS, before)))
        taken = connection.execute(
            update(Owner)
            .where(
                Owner.epoch == before,
                or_(true() if is_gone else false(), Owner.expires_at < now()),
            )
            .values(epoch=Owner.epoch + 1, holder=self._holder, expires_at=now() + self._seconds)
            .returning(Owner.epoch)
        ).scalar_one_or_none()
        if taken is not None:
            _keep_lock(connection, taken)
        return taken


def _keep_lock(connection: Connection, epoch: int) -> None:
    """Hold the lock of an epoch for as long as the connection lasts."""
    connection.execute(select(func.pg_try_advisory_lock(_LOCKS, epoch)))
