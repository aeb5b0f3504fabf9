"""What the parts of the service share: made once by `create_app`, passed to every decision."""

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
    """The shared parts.

    Attributes:
        key: Signs the tokens of attempts.
        started_at: When this process became the owner, by the database's clock. Nothing is taken
            from a silent worker before one lease length after it: the workers could not renew
            while the service was away.
        searches: The search of each lease that has reported lately.
        log_news: Of output of trials, which would wake the followers of events for nothing.
        work: Says to the scheduler that there may be work; it does not block.
        delete: Says to the deleter that a search was marked; it does not block.
    """

    def publish(self, *, makes_work: bool) -> None:
        """Say what was committed: news for followers, perhaps work for slots that wait."""
        self.notifier.publish()
        if makes_work:
            self.work()

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    key: bytes
    started_at: float
    work: Callable[[], None]
    delete: Callable[[], None]
    metrics: Metrics = field(default_factory=Metrics)
    studies: Studies = field(default_factory=Studies)
    notifier: Notifier = field(default_factory=Notifier)
    log_notifier: Notifier = field(default_factory=Notifier)
    event_feeds: EventFeeds = field(default_factory=EventFeeds)
    report_batches: ReportBatches = field(default_factory=ReportBatches)
    searches: dict[str, str] = field(default_factory=dict)

    def attempt_token(self, lease: str) -> str:
        """Return the token that is valid for one attempt."""
        signature = hmac.new(self.key, lease.encode(), hashlib.sha256).hexdigest()
        return f"attempt-{lease}-{signature}"


def signing_key(session: Session) -> bytes:
    """Return the key that signs attempts' tokens, made on the first start."""
    secret = session.get(Secret, "attempts")
    if secret is None:
        secret = Secret(name="attempts", value=secrets.token_hex(32))
        session.add(secret)
    return bytes.fromhex(secret.value)


def new_id(prefix: str) -> str:
    """Return an opaque id. Ids stand in URLs and are no secrets."""
    return f"{prefix}{secrets.token_hex(8)}"
