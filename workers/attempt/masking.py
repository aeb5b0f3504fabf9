"""Masking of secrets in the output of trials, which the service stores and shows."""

import re
from collections.abc import Iterable, Mapping

# The tokens of attempts, and those that users create.
_TOKENS = re.compile(rb"attempt-[0-9A-Za-z]+-[0-9a-f]{64}|act_[0-9A-Za-z]+_[0-9A-Za-z_-]{43}")
_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
# Shorter values occur in ordinary output.
_SHORTEST = 8

LONGEST_TOKEN = 200
"""No token of ours is longer. The end of a chunk is held back by so many bytes, since a secret
may be cut in two there."""


class Mask:
    """Replaces secrets by stars, as many as the secret has bytes: offsets in the output stay.

    Args:
        environment: The values of variables with secret-like names are masked.
        secrets: Further values to mask.
    """

    def __init__(self, environment: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        named = (value for name, value in environment.items() if _NAMES.search(name))
        values = {s for s in (*named, *secrets) if len(s) >= _SHORTEST}
        # Longest first: a shorter secret that is the start of a longer one would match before it.
        parts = [re.escape(s.encode()) for s in sorted(values, key=len, reverse=True)]
        self._pattern = re.compile(b"|".join([*parts, _TOKENS.pattern]))

    def __call__(self, data: bytes) -> bytes:
        return self._pattern.sub(lambda found: b"*" * len(found.group()), data)

    def text(self, text: str) -> str:
        return self(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
