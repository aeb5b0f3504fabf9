"""Reading YAML and JSON that people write."""

from pathlib import Path

import pytest

from service.schemas.document_text import (
    DocumentError,
    parse_document,
    read_text,
    require_object,
)

ALIASES = "a: &one [1, 2]\nb: *one\n"


@pytest.mark.parametrize("text", ["{a: [1, null]}", '{"a": [1, null]}', "a:\n- 1\n- null\n"])
def test_yaml_and_json_are_read_alike(text: str) -> None:
    assert parse_document(text) == {"a": [1, None]}


def test_aliases_are_allowed_only_to_those_who_may_write_much() -> None:
    assert parse_document(ALIASES) == {"a": [1, 2], "b": [1, 2]}
    with pytest.raises(DocumentError, match="must not use aliases"):
        parse_document(ALIASES, allow_aliases=False)


@pytest.mark.parametrize("allow_aliases", [True, False])
def test_what_is_neither_yaml_nor_json_is_refused(allow_aliases: bool) -> None:
    with pytest.raises(DocumentError, match="is neither YAML nor JSON: "):
        parse_document("a: [", allow_aliases=allow_aliases)


def test_an_object_is_required_and_what_is_given_is_named() -> None:
    assert require_object({"a": 1}) == {"a": 1}
    with pytest.raises(DocumentError) as refused:
        require_object([1], "an object with the key 'task'")
    assert refused.value.given == [1]
    assert str(refused.value) == "must be an object with the key 'task', got [1]"


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(DocumentError, match=r"^cannot be read: 'utf-8' codec"):
        read_text(tmp_path / "latin")
    with pytest.raises(DocumentError, match=r"^cannot be read: No such file or directory$"):
        read_text(tmp_path / "none")
