"""Settings, each an environment variable `ACTSEARCH_` + its name, or an option of the command."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")


class Settings(BaseSettings):
    """How a service runs.

    Attributes:
        home: Folder of the SQLite store and of the artifacts.
        database_url: SQLAlchemy URL; None means SQLite under `home`.
        lease_seconds: How long a silent worker keeps its trial.
        owner_seconds: How long a silent service remains the owner of a PostgreSQL; then one
            that stands by takes over.
        admin_token_file: File that holds the token every request must carry; None: no token,
            which is refused off loopback.
        worker_token_file: File that holds a token with the scope work, for workers that are
            deployed together with the service.
        allowed_hosts: Further names by which clients may address the service.
        log_format: Lines for people, or `json`.
        log_level: The least that is logged. At info: what changes something; at debug: all.
        artifacts_url: Folder or URL of fsspec where trials' files are kept; None: in the home.
        artifact_grace_seconds: How old a file is that is deleted because nothing names it, or
            because it is none of those that are kept.
        keep_weights: Of so many of the best trials of a search weights are kept; 0: of all.
        max_artifact_bytes: Largest file that a trial may store.
        max_log_bytes: So much of the output of an attempt is kept, the newest.
        rate_limit: Calls per second of one client (a token, or an address without one),
            averaged over ten seconds; 0: any number.
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
        """What lets others than this machine's users call, in words, or None."""
        if not _is_loopback(self.host):
            return f"listen on {self.host}"
        outside = [name for name in self.allowed_hosts if not _is_loopback(name)]
        return f"answer for {', '.join(outside)}" if outside else None

    @property
    def artifacts(self) -> str:
        """Where trials' files are kept."""
        return self.artifacts_url or str(self.home.resolve() / "artifacts")

    @property
    def hosts(self) -> frozenset[str]:
        """Names that the `Host` header may carry."""
        return frozenset({*LOOPBACK_NAMES, self.host, *self.allowed_hosts})


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
