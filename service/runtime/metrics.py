"""The counters and histograms of this process for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ASK_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.6, 1, 2.5, 5, 10)
_WAIT_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "actsearch_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "actsearch_http_request_seconds",
            "Time to the first byte of an answer; long polls and streams included.",
            ("method", "route"),
            buckets=_HTTP_SECONDS,
            registry=self.registry,
        )
        self.reports = Counter(
            "actsearch_reports", "Reports of epochs that were stored.", registry=self.registry
        )
        self.asks = Histogram(
            "actsearch_ask_seconds",
            "Time to find work for a slot, including the proposal of a candidate.",
            buckets=_ASK_SECONDS,
            registry=self.registry,
        )
        self.queue_wait = Histogram(
            "actsearch_queue_wait_seconds",
            "Time that a slot waited for the work it was given.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
