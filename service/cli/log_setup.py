"""Sets up the service's log: text for people or JSON for programs, each line with its ids."""

import logging
import sys

import structlog

from service.settings import LogFormat, LogLevel


def write_log(style: LogFormat, level: LogLevel) -> None:
    """Send every log record of this process to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.StackInfoRenderer(),
    ]
    lines: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if style == "json":
        lines += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        lines.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default shows the variables of every frame: that puts secrets into the log,
                # and one error can block the event loop for minutes.
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=lines)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # At level debug they log every frame and statement; our own lines name each request.
    for chatty in ("asyncio", "sqlalchemy", "alembic", "websockets"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
