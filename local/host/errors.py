"""Why the host cannot start."""


class HostStartError(Exception):
    """The app, its host.json or its settings are wrong; the message says which and what to do."""
