"""Which function answers a path.

ASP.NET's route templates as Functions apps use them: `{name}`, `{name?}` and `{*rest}`; case does not matter,
nor does a slash at the end.
"""

import re

from local.host.errors import HostStartError

_PLACEHOLDER = re.compile(r"\{(\*?)(\w+)(\??)\}")


def compile_route(prefix: str, template: str) -> re.Pattern[str]:
    """A pattern that matches a decoded path, with a group for each route parameter. Raises HostStartError."""
    pattern = ""
    for segment in [part for part in f"{prefix}/{template}".split("/") if part]:
        placeholder = _PLACEHOLDER.fullmatch(segment)
        if placeholder is None:
            if "{" in segment or "}" in segment:
                raise HostStartError(
                    f"route {template!r}: this host knows {{name}}, {{name?}} and {{*rest}} "
                    f"as whole segments, not {segment!r}"
                )
            pattern += "/" + re.escape(segment)
            continue
        rest, name, optional = placeholder.groups()
        pattern += f"(?:/(?P<{name}>.+))?" if rest else f"(?:/(?P<{name}>[^/]+)){optional}"
    return re.compile(pattern + "/?", re.IGNORECASE | re.DOTALL)
