"""Seeds: all of a search follow from the one that its document names."""

import hashlib


def seed_of(search_seed: int, purpose: str, number: int) -> int:
    """Derive a seed of 31 bits from the seed of the search."""
    digest = hashlib.sha256(f"{search_seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
