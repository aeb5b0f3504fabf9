"""Keeping secrets out of what trials print, since it is kept and shown."""

import re
from collections.abc import Iterable, Mapping

# Those of attempts and those that people make.
_TOKENS = re.compile(rb"attempt-[0-9A-Za-z]+-[0-9a-f]{64}|act_[0-9A-Za-z]+_[0-9A-Za-z_-]{43}")
_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
# Shorter values are words that output holds anyway.
_SHORTEST = 8

LONGEST_TOKEN = 200
"""No token of ours is longer; what may be cut in two is held back by so much."""


class Mask:
    """Puts stars in the place of secrets, as many as the secret has bytes.

    Args:
        environment: Values of variables whose names say that they are secret are hidden.
        secrets: Further ones.
    """

    def __init__(self, environment: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        named = (value for name, value in environment.items() if _NAMES.search(name))
        values = {s for s in (*named, *secrets) if len(s) >= _SHORTEST}
        # Longest first, so that no secret is spared for beginning like another.
        parts = [re.escape(s.encode()) for s in sorted(values, key=len, reverse=True)]
        self._pattern = re.compile(b"|".join([*parts, _TOKENS.pattern]))

    def __call__(self, data: bytes) -> bytes:
        return self._pattern.sub(lambda found: b"*" * len(found.group()), data)

    def text(self, text: str) -> str:
        return self(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
