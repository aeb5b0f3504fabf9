"""Heartbeats of workers: they renew leases, and tell a worker which attempts to stop."""

from search_space.contract import Heartbeat, HeartbeatReply, Verdict
from service.runtime.context import Context
from service.store import attempts, workers
from service.trials.outcomes import KILLED, end_open_attempt


def heartbeat(context: Context, worker_id: str, beat: Heartbeat) -> HeartbeatReply:
    """Renew the leases of a worker; the reply `cancel` means that a lease is no longer valid."""
    with context.database.write() as session:
        workers.record_heartbeat(session, worker_id, beat.boot_id)
        seconds = context.settings.lease_seconds
        renewed = attempts.renew(session, beat.leases, boot_id=beat.boot_id, seconds=seconds)
        attempts.restart_clock(session, renewed.intersection(beat.waiting))
        killed = attempts.of_killed(session, renewed)
    # In transactions of their own: each needs its study's lock, which comes before the rows'.
    for lease, search_id in killed:
        end_open_attempt(context, lease, search_id, lambda _unit, _attempt: KILLED)
    renewed -= {lease for lease, _ in killed}
    return HeartbeatReply(
        leases={
            lease: Verdict.CONTINUE if lease in renewed else Verdict.CANCEL for lease in beat.leases
        }
    )
