"""What goes wrong with a request, as both APIs say it."""

from collections.abc import Mapping
from typing import Any

from app.engine.engine import EngineDied, EngineError
from mlx_model.errors import GptossError, RequestError


class ApiError(GptossError):
    """An error of OpenAI's APIs. `param` is the path of the field at fault, `retry_after` in seconds. `about` is what
    an engine says of that, which does not know the path."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        retry_after: int | None = None,
        about: str = "",
    ) -> None:
        super().__init__(message)
        self.about = about
        self.param, self.status, self.type, self.code, self.retry_after = param, status, type, code, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers besides the body's; the SDKs wait as long as Retry-After says."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def to_json(self) -> dict[str, Any]:
        """The body of the response."""
        fields = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": fields}


def failed(text: str, status: int = 500) -> ApiError:
    """The server's own failure."""
    return ApiError(text, status=status, type="server_error", code="server_error")


def not_found(text: str, param: str | None = None, code: str = "not_found") -> ApiError:
    """Something that a request names and that isn't there."""
    return ApiError(text, param, status=404, code=code)


def unknown_model(model: str, served: str) -> ApiError:
    """Another model than the one that is served."""
    return not_found(f"there is no model {model[:80]!r} here; there is {served!r}", "model", "model_not_found")


def busy(text: str) -> ApiError:
    """More requests than may wait."""
    return ApiError(text, status=429, type="rate_limit_error", code="rate_limit_exceeded", retry_after=5)


def stopping() -> ApiError:
    """The server is about to end."""
    return failed("the server is stopping", status=503)


def changing() -> ApiError:
    """Another model takes the place of the one that was to answer; the SDKs ask again."""
    error = failed("the owner of the server loads another model; ask again", status=503)
    error.retry_after = 5
    return error


def of_engine(error: Exception) -> ApiError:
    """What an engine's failure is to a client."""
    match error:
        case ApiError():
            return error
        case EngineError(too_long=True):
            return ApiError(str(error), code="context_length_exceeded", about="messages")
        case EngineError(unusable=True) | RequestError():
            return ApiError(str(error), about=error.about)
        case EngineDied():
            return failed(f"{error}; the next request starts it anew")
        case GptossError():
            return failed(str(error))
    return failed(f"the server failed with {type(error).__name__}; its standard error says more")


def renamed(error: RequestError, param: str, names: Mapping[str, str] | None = None) -> ApiError:
    """An error of a lower room with the path of the field that was read; `names` are its words for API's."""
    text = str(error)
    for ours, theirs in (names or {}).items():
        if text.startswith(f"{ours} "):
            text = theirs + text[len(ours) :]
    return ApiError(text, param)
