"""The reference against the service: whatever may be asked is answered as the reference says."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.player import Player
from tests.support.serving import Served

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-is-long-enough-for-this"
LEFT_OUT = {
    # What a schema cannot say (a metric that the task has not) is refused with 422.
    "positive_data_acceptance",
    # A content type that a browser may send unasked is refused before a method is looked for.
    "unsupported_method",
}


def test_whatever_is_asked_is_answered_as_documented(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    served = serve(admin_token_file=tmp_path / "token", rate_limit=0)
    served.http.headers["authorization"] = f"Bearer {TOKEN}"
    player = Player(served)
    player.submit()
    player.inspect()
    player.train(player.work(), 0.5)
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert command is not None
    done = subprocess.run(
        [
            *(command, "run", f"{served.url}/openapi.json"),
            *("--checks", "all", "--exclude-checks", ",".join(sorted(LEFT_OUT))),
            *("-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"),
            # These wait for what happens: for ever, or for half a minute.
            *("--exclude-path-regex", r"/events$|^/v1/leases$|^/v1/trials/\{id\}/logs$"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "5"),
            *("--suppress-health-check", "all", "--seed", "1", "--request-timeout", "60"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-30000:] + done.stderr
