"""Failures that a command of the local stack reports in one line."""


class CommandFailed(Exception):
    """The message says what is wrong and what to do; the exit code is the command's."""

    exit_code = 1
