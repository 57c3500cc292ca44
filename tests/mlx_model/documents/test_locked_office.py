"""Office files that take a password."""

from io import BytesIO

import pytest

from mlx_model.documents import locked_office
from mlx_model.documents.document import DocumentError, DocumentLocked, Wanted
from mlx_model.documents.formats import Format, format_of
from mlx_model.documents.parsers import parse
from tests.fixtures.office import row, xlsx


@pytest.fixture(scope="module")
def locked() -> bytes:
    """A table that takes the password `key`."""
    from msoffcrypto.format.ooxml import OOXMLFile

    data = BytesIO()
    rows = "".join(row(number, "n", number) for number in range(1, 400))  # less than 4 kB the package encrypts wrongly
    OOXMLFile(BytesIO(xlsx({"North": rows}))).encrypt("key", data)
    return data.getvalue()


def test_it_opens_with_its_password_alone(locked: bytes) -> None:
    assert format_of(locked) is Format.LOCKED_OFFICE
    for password, said in ((None, "is locked by a password"), ("", "is locked by a"), ("no", "is locked by another")):
        with pytest.raises(DocumentLocked, match=said):
            parse(locked, Format.LOCKED_OFFICE, Wanted(10**6, password=password))
    document = parse(locked, Format.LOCKED_OFFICE, Wanted(10**6, password="key"))
    assert document.text.startswith('[sheet "North" A1:B399]\nn | 1\nn | 2\n')


def test_a_damaged_one_and_a_missing_package_are_said(locked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (locked[:2000], b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)):
        with pytest.raises(DocumentError, match="damaged") as error:
            parse(data, Format.LOCKED_OFFICE, Wanted(10**6, password="key"))
        assert not isinstance(error.value, DocumentLocked)
    monkeypatch.setattr(locked_office, "find_spec", lambda _: None)
    with pytest.raises(DocumentError, match=r"save a copy without one and attach that, or: .*gptoss-chat\[office\]"):
        parse(locked, Format.LOCKED_OFFICE, Wanted(10**6))
