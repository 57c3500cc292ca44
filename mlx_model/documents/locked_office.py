"""Opens Office files that take a password: an extra's package decrypts them."""

from importlib.util import find_spec
from io import BytesIO

from mlx_model.documents.document import DocumentError, DocumentLocked
from mlx_model.documents.packed import DAMAGED
from mlx_model.extras import install_line

LOCKED = "is locked by a password"
WRONG_PASSWORD = "is locked by another password"


def unlocked(data: bytes, password: str | None) -> bytes:
    """The file without its encryption. Raises DocumentLocked without the right password, DocumentError for what can't
    be opened, or while the package is missing."""
    if find_spec("msoffcrypto") is None:
        raise DocumentError(f"{LOCKED}; save a copy without one and attach that, or: {install_line('office')}")
    if not password:
        raise DocumentLocked(LOCKED)
    from msoffcrypto import OfficeFile
    from msoffcrypto.exceptions import InvalidKeyError

    opened = BytesIO()
    try:
        file = OfficeFile(BytesIO(data))
        try:
            file.load_key(password=password, verify_password=True)
        except InvalidKeyError:
            raise DocumentLocked(WRONG_PASSWORD) from None
        file.decrypt(opened)
    except DocumentLocked:
        raise
    except Exception:  # it fails in any way on a damaged file
        raise DocumentError(DAMAGED) from None
    return opened.getvalue()
