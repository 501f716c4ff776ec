"""The JSON body of a request, read so that no body can do harm."""

from __future__ import annotations

import json
from typing import Any

from chalice.app import BadRequestError, ChaliceViewError, Request

#: Lambda takes 6 MB in all and API Gateway 10 MB; an API that needs more than this wants S3.
MAX_BODY_BYTES = 1024 * 1024


class PayloadTooLargeError(ChaliceViewError):
    STATUS_CODE = 413


def json_body(request: Request | None) -> Any:
    """Return the parsed body; raise a 413 or a 400 that tells the client what is wrong.

    Chalice has already answered 415 for a media type other than application/json.
    """
    raw = request.raw_body if request is not None else b""
    if len(raw) > MAX_BODY_BYTES:
        raise PayloadTooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    if not raw:
        raise BadRequestError("The body is empty: send JSON.")
    try:
        value = json.loads(raw.decode() if isinstance(raw, bytes) else raw)
        json.dumps(value, allow_nan=False)  # NaN and 1e999 parse, but could not be sent on as JSON
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON.") from None
    return value
