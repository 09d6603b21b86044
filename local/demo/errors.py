"""What ends the demo before its end."""

from local.errors import CommandFailed


class DemoFailed(CommandFailed):
    """Something did not happen, or not in time; the message says what."""
