"""Opaque cursors for pagination: the position at which a page ended."""

import base64
import binascii
import json
import math
from dataclasses import dataclass

from service.errors import Fault, Invalid


@dataclass(frozen=True, slots=True)
class Cursor:
    """The sort key and the id of the last row of a page."""

    key: float
    id: str

    def encode(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.key, self.id]).encode()).decode()


def decode(text: str | None) -> Cursor | None:
    """Read a cursor that `Cursor.encode` wrote, or raise `Invalid`."""
    if text is None:
        return None
    try:
        key, id_ = json.loads(base64.urlsafe_b64decode(text))
        cursor = Cursor(float(key), str(id_))
        if not math.isfinite(cursor.key) or not cursor.id.isprintable():
            raise ValueError(text)
        return cursor
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        fault = Fault("cursor", "must be the `next` of an earlier page", text)
        raise Invalid([fault]) from None
