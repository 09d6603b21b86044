"""Error responses in the Blob service's form."""

import uuid
from http import HTTPStatus
from xml.sax.saxutils import escape

from local.gateway.messages import Headers, Response, make_response


def storage_error(status: int, code: str, message: str, *fields: tuple[str, str]) -> Response:
    """An error as the Blob and Queue services answer it, with its code in a header and in XML."""
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    headers = Headers(
        [
            ("Content-Type", "application/xml"),
            ("x-ms-error-code", code),
            ("x-ms-request-id", str(uuid.uuid4())),
            *fields,
        ]
    )
    content = f'<?xml version="1.0" encoding="utf-8"?>{error}'.encode()
    return make_response(status, HTTPStatus(status).phrase, headers, content)
