"""Who may call what: the keys of the host and the levels that they open.

From azure-functions-host, AuthenticationLevelHandler: the header comes before the query, and a wrong key in
the header is not made good by a right one in the query.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

KEY_HEADER = "x-functions-key"
KEY_PARAMETER = "code"


class Access(IntEnum):
    """Levels in the order in which one includes the other."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


@dataclass(frozen=True)
class Keys:
    """The secrets of one host; kept out of its repr."""

    function_key: str
    master_key: str

    def __repr__(self) -> str:
        return "Keys(...)"

    def access_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Access:
        """The level that a request's key opens; a wrong key opens what no key does."""
        presented = headers.get(KEY_HEADER) if KEY_HEADER in headers else query.get(KEY_PARAMETER)
        if _same(presented, self.master_key):
            return Access.ADMIN
        if _same(presented, self.function_key):
            return Access.FUNCTION
        return Access.ANONYMOUS


def _same(presented: str | None, key: str) -> bool:
    return bool(presented) and hmac.compare_digest((presented or "").encode(errors="replace"), key.encode())
