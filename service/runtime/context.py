"""The objects that all parts of a term share, passed to every function that decides something."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from service.runtime.event_feed import EventFeeds
from service.runtime.metrics import Metrics
from service.runtime.notifier import Notifier
from service.runtime.report_batches import ReportBatches
from service.settings import Settings
from service.store.artifacts import ArtifactStore
from service.store.database import Database
from service.store.models import Secret
from service.study.live import Studies


@dataclass(frozen=True)
class Context:
    """The shared objects of one term.

    Attributes:
        key: Signs the tokens of attempts.
        started_at: When this process became the leader, by the database's clock. Until one lease
            period later no attempt counts as lost: workers could not renew while the service was
            down.
        notify_scheduler: Tells the scheduler that there may be work; it does not block.
        delete: Tells the deleter that a search was marked; it does not block.
        notifier: Of commits.
        log_notifier: Of output of trials. It is separate, since output comes often and would wake
            the followers of events in vain.
        search_of_lease: A cache of the search of each lease that has reported lately.
    """

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    key: bytes
    started_at: float
    notify_scheduler: Callable[[], None]
    delete: Callable[[], None]
    metrics: Metrics = field(default_factory=Metrics)
    studies: Studies = field(default_factory=Studies)
    notifier: Notifier = field(default_factory=Notifier)
    log_notifier: Notifier = field(default_factory=Notifier)
    event_feeds: EventFeeds = field(default_factory=EventFeeds)
    report_batches: ReportBatches = field(default_factory=ReportBatches)
    search_of_lease: dict[str, str] = field(default_factory=dict)

    def publish(self, *, makes_work: bool) -> None:
        """Notify followers of a commit and, if it may have made work, the scheduler."""
        self.notifier.notify()
        if makes_work:
            self.notify_scheduler()

    def attempt_token(self, lease: str) -> str:
        """Return the token that is valid for one attempt."""
        signature = hmac.new(self.key, lease.encode(), hashlib.sha256).hexdigest()
        return f"attempt-{lease}-{signature}"


def signing_key(session: Session) -> bytes:
    """Return the key that signs the tokens of attempts; it is generated at the first start."""
    secret = session.get(Secret, "attempts")
    if secret is None:
        secret = Secret(name="attempts", value=secrets.token_hex(32))
        session.add(secret)
    return bytes.fromhex(secret.value)


def new_id(prefix: str) -> str:
    """Return a random id. Ids are part of URLs and not secret."""
    return f"{prefix}{secrets.token_hex(8)}"
