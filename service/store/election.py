"""Leader election among processes on one PostgreSQL: the epoch in the row says who leads.

The leader renews its row, and holds an advisory lock that the database releases when the
connection ends. So a leader that has died is replaced at once, and one that only hangs when its
time has expired. Either way the epoch grows, and the database refuses the former leader's writes.
"""

from sqlalchemy import Connection, Engine, false, func, or_, select, text, true, update

from service.store.database import now
from service.store.models import Owner

_LOCKS = 0x0AC75EA2
"""First key of the advisory locks of this program; the second is the epoch."""


class LeaderElection:
    """Acquires, renews and releases leadership for one process. Not thread-safe.

    Args:
        holder: A readable name of this process.
        seconds: How long leadership lasts after it was last renewed.
    """

    def __init__(self, engine: Engine, holder: str, seconds: float) -> None:
        self._engine = engine
        self._holder = holder
        self._seconds = seconds
        self._connection: Connection | None = None
        self._epoch: int | None = None

    def acquire_or_renew(self) -> int | None:
        """Become or remain the leader; return the epoch, or None while another process leads.

        Raises:
            SQLAlchemyError: If the database does not answer; leadership is as it was.
        """
        try:
            connection = self._connected()
            with connection.begin():
                # Writers share a lock on the row: one that hangs must not block this for ever.
                connection.execute(text("SET LOCAL lock_timeout = '2s'"))
                if self._epoch is None or not self._renew(connection, self._epoch):
                    self._epoch = self._acquire(connection)
        except BaseException:
            self.disconnect()
            raise
        return self._epoch

    def release(self) -> None:
        """Let another process become the leader at once."""
        if self._epoch is not None:
            connection = self._connected()
            with connection.begin():
                connection.execute(
                    update(Owner).where(Owner.epoch == self._epoch).values(expires_at=0.0)
                )
            self._epoch = None

    def disconnect(self) -> None:
        """Close the connection, which releases the advisory lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._epoch is not None:
                # The lock went with the former connection.
                with self._connection.begin():
                    _hold_lock(self._connection, self._epoch)
        return self._connection

    def _renew(self, connection: Connection, epoch: int) -> bool:
        renewed = connection.execute(
            update(Owner)
            .where(Owner.epoch == epoch)
            .values(expires_at=now() + self._seconds)
            .returning(Owner.epoch)
        )
        return renewed.first() is not None

    def _acquire(self, connection: Connection) -> int | None:
        before = connection.execute(select(Owner.epoch)).scalar_one()
        # The lock is free only if the connection of the leader of that epoch has ended.
        is_gone = connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCKS, before)))
        # Compare-and-set on the epoch: of several processes that try, one changes the row.
        acquired = connection.execute(
            update(Owner)
            .where(
                Owner.epoch == before,
                or_(true() if is_gone else false(), Owner.expires_at < now()),
            )
            .values(epoch=Owner.epoch + 1, holder=self._holder, expires_at=now() + self._seconds)
            .returning(Owner.epoch)
        ).scalar_one_or_none()
        if acquired is not None:
            _hold_lock(connection, acquired)
        return acquired


def _hold_lock(connection: Connection, epoch: int) -> None:
    """Take the advisory lock of an epoch until the connection ends."""
    connection.execute(select(func.pg_try_advisory_lock(_LOCKS, epoch)))
