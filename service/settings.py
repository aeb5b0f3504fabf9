"""Settings of the service: environment variables `ACTSEARCH_` + name, or options of the command."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class Settings(BaseSettings):
    """The settings of one service process.

    Attributes:
        home: Folder of the SQLite database and of the artifacts.
        database_url: SQLAlchemy URL; None means SQLite under `home`.
        lease_seconds: How long a worker keeps its trial without a heartbeat.
        owner_seconds: How long a service remains the leader on PostgreSQL without renewing its
            claim; then a standby service takes over.
        admin_token_file: File with the admin token. None: requests need no token, which is
            allowed on loopback only.
        worker_token_file: File with a token of the scope work, for workers that are deployed
            together with the service.
        allowed_hosts: Further host names that clients may use for the service.
        log_format: `text` for people, or `json`.
        log_level: Lowest level that is logged. Requests that change something are logged at
            info, all others at debug.
        artifacts_url: Folder or fsspec URL for the files of trials; None: under `home`.
        artifact_grace_seconds: Age at which a file is deleted that no row names, or that is
            beyond its retention.
        keep_weights: Number of the best trials of a search whose weights are kept; 0: all.
        max_artifact_bytes: Largest file that a trial may store.
        max_log_bytes: Bytes of output that are kept of an attempt, the newest ones.
        rate_limit: Requests per second of one client (a token, or an address without one),
            averaged over ten seconds; 0: no limit.
    """

    model_config = SettingsConfigDict(env_prefix="ACTSEARCH_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    home: Path = Path("actsearch-home")
    database_url: str | None = None
    lease_seconds: float = Field(30.0, gt=0)
    owner_seconds: float = Field(15.0, gt=0)
    admin_token_file: Path | None = None
    worker_token_file: Path | None = None
    allowed_hosts: list[str] = []
    log_format: LogFormat = "text"
    log_level: LogLevel = "warning"
    artifacts_url: str | None = None
    artifact_grace_seconds: float = Field(3600.0, gt=0)
    keep_weights: int = Field(20, ge=0)
    max_artifact_bytes: int = Field(2 * 1024**3, gt=0)
    max_log_bytes: int = Field(8 * 1024**2, gt=0)
    rate_limit: float = Field(500.0, ge=0)

    @property
    def exposure(self) -> str | None:
        """What makes the service reachable from other machines, in words; None: nothing does."""
        if not _is_loopback(self.host):
            return f"listen on {self.host}"
        outside = [name for name in self.allowed_hosts if not _is_loopback(name)]
        return f"answer for {', '.join(outside)}" if outside else None

    @property
    def artifacts(self) -> str:
        """Folder or URL of the files of trials."""
        return self.artifacts_url or str(self.home.resolve() / "artifacts")

    @property
    def hosts(self) -> frozenset[str]:
        """Names that the `Host` header may have."""
        return frozenset({*LOOPBACK_NAMES, self.host, *self.allowed_hosts})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
