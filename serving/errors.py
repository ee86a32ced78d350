"""What a service answers that is not a success; ``serving.api.errors`` makes HTTP of it."""

from collections.abc import Mapping

from serving.schemas import ErrorType

STATUS: dict[ErrorType, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "overloaded": 429,
    "internal": 500,
    "unavailable": 503,
    "timeout": 504,
}


class ApiError(Exception):
    """An answer that is not a success.

    Args:
        type: kind of error; it decides the status code.
        message: what is wrong and what is allowed.
        param: the field or parameter it is about.
        code: what exactly is wrong, as a word for programs.
        headers: of the answer, such as ``Retry-After``.
    """

    def __init__(
        self,
        type: ErrorType,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.type: ErrorType = type
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:  # crosses Ray's process boundary whole
        return ApiError, (self.type, self.message, self.param, self.code, self.headers)
