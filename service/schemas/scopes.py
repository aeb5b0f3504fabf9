"""What a token allows."""

from enum import StrEnum


class Scope(StrEnum):
    READ = "read"
    SUBMIT = "submit"
    WORK = "work"
    ADMIN = "admin"
