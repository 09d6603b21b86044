"""Judges whether the accounts can be reached and the calls that the functions make are allowed.

A call is tried on what does not exist, or under a condition that never holds. The service checks whether a
caller may do something before it looks whether there is anything to do it with: 404, 409 or 412 prove that
the call is allowed, 401 and 403 that it is not. The error codes of a refusal:
learn.microsoft.com/rest/api/storageservices/sas-error-codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.connections import Connection
from shared.decisions.findings import Answer, Finding, Level, Trouble, ok, warning, wrong

_PROOFS = frozenset({200, 404, 409, 412})

_WHOLE_ACCOUNT = frozenset(
    {
        "AuthenticationFailed",
        "InvalidAuthenticationInfo",
        "AuthorizationFailure",
        "AuthorizationSourceIPMismatch",
        "AuthorizationProtocolMismatch",
        "AuthorizationServiceMismatch",
        "KeyBasedAuthenticationNotPermitted",
        "AccountIsDisabled",
    }
)
"""Refusals that are meant for the caller, whatever it asks for."""


@dataclass(frozen=True)
class Need:
    """A call that the functions make, and what allows it.

    Attributes:
        used_by: what does not work without it.
        sas: the signed permission (one of these letters is enough) and the signed resource type of an account SAS.
        role: what an identity needs.
        optional: without it only some blobs, or some settings, suffer.
    """

    call: str
    used_by: str
    sas: tuple[str, str]
    role: str
    optional: bool = False


@dataclass(frozen=True)
class Trial:
    """A call that was tried, and where: the container or queue, None for one that does not exist."""

    need: Need
    answer: Answer[Any]
    where: str | None


READER = "the role Storage Blob Data Reader"
WRITER = "a role with .../containers/blobs/write (Storage Blob Data Contributor has it)"
QUEUE = "the role Storage Queue Data Contributor"

LIST_CONTAINERS = Need("list containers", "reconcile", ("l", "s"), READER)
LIST_BLOBS = Need("list blobs and snapshots", "protect and reconcile", ("l", "c"), READER)
READ_BLOBS = Need("read blobs", "backup", ("r", "o"), READER)
SNAPSHOT = Need("snapshot blobs", "protect and reconcile", ("cw", "o"), "a role with .../blobs/add/action")
READ_TAGS = Need(
    "read index tags", "backup, for blobs that have tags", ("t", "o"), "a role with .../blobs/tags/read", optional=True
)
LEASE = Need("lease blobs", "SNAPKEEP_USE_LEASE", ("w", "o"), WRITER)

LOOK_AT_CONTAINERS = Need("look at containers", "backup", ("r", "c"), READER)
LIST_BACKUPS = Need("list blobs", "reconcile", ("l", "c"), READER)
READ_BACKUPS = Need("read blobs", "backup, to verify", ("r", "o"), READER)
CREATE_CONTAINERS = Need("create containers", "the first backup of each container", ("cw", "c"), WRITER)
CREATE_BLOBS = Need("create blobs", "backup", ("cw", "o"), WRITER)
WRITE_BLOCKS = Need("write blocks", "backup, for blobs over 256 MiB", ("w", "o"), WRITER)
WRITE_TAGS = Need(
    "set index tags", "backup, for blobs that have tags", ("t", "o"), "a role with .../blobs/tags/write", optional=True
)
DELETE_STAGED = Need(
    "delete in snapkeep-staging", "backups that Data Factory copied", ("d", "o"), "a role with .../blobs/delete there"
)
DELETE_SCRATCH = Need(
    "delete scratch containers", "reconcile's drills (SNAPKEEP_DRILL_BLOBS=0 does without)", ("d", "c"), WRITER
)
DELETE_MIRRORED = Need("delete mirrored files", "SNAPKEEP_SYNC_DELETE", ("d", "o"), "a role with .../blobs/delete")

LOOK_AT_QUEUES = Need("look at queues", "status and doctor", ("r", "c"), QUEUE)
PEEK = Need("peek at messages", "status, doctor and requests", ("r", "o"), QUEUE)
PUT = Need("put messages", "protect and reconcile", ("a", "o"), QUEUE)
TAKE = Need("take messages", "backup's trigger", ("p", "o"), QUEUE)
UPDATE = Need("hold messages", "backup's trigger", ("u", "o"), QUEUE)

_PLATFORM = "the role Storage Blob Data Owner, which the platform itself needs there"
WRITE_STATE = Need("write documents", "every function", ("w", "o"), _PLATFORM)
READ_STATE = Need("read documents", "every function", ("r", "o"), _PLATFORM)
LIST_STATE = Need("list documents", "reconcile and status", ("l", "c"), _PLATFORM)
LEASE_STATE = Need("lease documents", "reconcile and sync, for their locks", ("w", "o"), _PLATFORM)
DELETE_STATE = Need("delete documents", "reconcile", ("d", "o"), _PLATFORM)


def reached(connection: Connection, endpoint: str, answer: Answer[object]) -> Finding:
    """Whether there is a service at the connection's address."""
    subject = f"{connection.name}: reachable"
    where = urlsplit(endpoint).netloc.rpartition("@")[2]
    if not where:
        return wrong(subject, "its address has no host", f"give {connection.name} an address such as https://...")
    if answer.trouble is None:
        return ok(subject, f"{where} answers")
    match answer.trouble:
        case Trouble.NAME:
            remedy = f"correct the account's name in {connection.name}, or this machine's DNS (private endpoints)"
        case Trouble.REFUSED:
            remedy = f"correct the address and port in {connection.name}; on this machine, start `python -m local up`"
        case Trouble.TLS:
            remedy = "check the address, and the certificates and proxies between here and there"
        case Trouble.CREDENTIAL:
            return wrong(f"{connection.name}: access", str(answer.trouble), _credential_remedy(connection))
        case _:
            remedy = "check the network between here and there: firewalls, private endpoints, proxies"
    return wrong(subject, f"{where}: {answer.trouble}", remedy)


def identified(connection: Connection, answer: Answer[None]) -> Finding:
    """Whether the connection's identity got a token."""
    subject = f"{connection.name}: identity"
    if answer.status == 200:
        return ok(subject, "has a token")
    said = f"the identity service: {answer}" if answer.trouble is not Trouble.CREDENTIAL else "no credential gave one"
    return wrong(subject, f"has no token; {said}", _credential_remedy(connection))


def permissions(connection: Connection, trials: Sequence[Trial]) -> list[Finding]:
    """What is allowed of these calls; one finding where all of them are refused for one reason."""
    codes = {trial.answer.code for trial in trials}
    if all(trial.answer.refused for trial in trials) and len(codes) == 1 and codes <= _WHOLE_ACCOUNT:
        text = f"every call is refused: {trials[0].answer}"
        return [wrong(f"{connection.name}: access", text, _remedy(connection, trials[0]))]
    return [_permission(connection, trial) for trial in trials]


def _permission(connection: Connection, trial: Trial) -> Finding:
    need, answer = trial.need, trial.answer
    subject = f"{connection.name}: {need.call}"
    if answer.status in _PROOFS:
        where = "the account" if need.sas[1] == "s" else trial.where or "a name that nothing has"
        return ok(subject, f"allowed (tried on {where})")
    if answer.refused:
        level = Level.WARNING if need.optional else Level.WRONG
        return Finding(level, subject, f"refused: {answer}; needed by {need.used_by}", _remedy(connection, trial))
    if answer.trouble is not None:
        return wrong(subject, str(answer), "run it again; if it stays so, look at the network between here and there")
    if answer.status == 429 or (answer.status or 0) >= 500:
        return warning(subject, f"the service failed: {answer}", "run it again in a minute")
    return warning(
        subject,
        f"cannot tell: {answer}, which says neither that it is allowed nor that it is not",
        f"see that the app has {need.role}, or sp={need.sas[0]} and srt={need.sas[1]} in its SAS",
    )


def untried(connection: Connection, need: Need) -> Finding:
    """Whether a call is allowed that could be tried by doing it alone."""
    subject = f"{connection.name}: {need.call}"
    if connection.account_key:
        return ok(subject, "not tried, since it would create one; an account key allows it")
    if connection.sas:
        letters, resource = need.sas
        signed = parse_qs(connection.sas)
        if "sp" not in signed or "srt" not in signed:
            return warning(subject, "cannot tell from this SAS", f"see that it allows sp={letters} on srt={resource}")
        if set(letters) & set(signed["sp"][0]) and resource in signed["srt"][0]:
            return ok(subject, "not tried, since it would create one; the SAS names the permission")
        return wrong(
            subject, f"the SAS does not name the permission; needed by {need.used_by}", _sas_remedy(connection, need)
        )
    return warning(
        subject,
        "not tried, since it would create one, and there is nothing yet to try it on without harm",
        f"see that the identity has {need.role}; run the doctor again after the first backup",
    )


def _remedy(connection: Connection, trial: Trial) -> str:
    name, need, code = connection.name, trial.need, trial.answer.code
    match code:
        case "AuthorizationSourceIPMismatch":
            return f"the SAS in {name} is for other addresses than this machine's: make one without, or with, its own"
        case "AuthorizationProtocolMismatch":
            return f"the SAS in {name} is for https alone, and the address says http: correct the address"
        case "AuthorizationServiceMismatch":
            return f"the SAS in {name} is for another service: make one with ss={'q' if need.role == QUEUE else 'b'}"
        case "KeyBasedAuthenticationNotPermitted":
            return f"the account takes no keys: give {name} an identity, with __blobServiceUri or __queueServiceUri"
        case "AccountIsDisabled":
            return "the account is disabled: see its subscription"
    if connection.account_key:
        return (
            f"the key in {name} is not (any more) the account's, or the account's firewall does not admit this "
            "machine: put the present key there, or admit the machine"
        )
    if connection.sas and code in _WHOLE_ACCOUNT:
        return (
            f"the SAS in {name} is expired, not valid yet, or of a key that was renewed since, or the account's "
            "firewall does not admit this machine: put a new SAS there, or admit the machine"
        )
    if connection.sas:
        return _sas_remedy(connection, need)
    if code == "AuthenticationFailed":
        return f"the token of {name}'s identity is not accepted: see that the identity is of the account's tenant"
    firewall = "admit this machine in the account's firewall, if it has one; or " if code in _WHOLE_ACCOUNT else ""
    scope = "" if trial.where else " (one that is assigned on single containers or queues does not show here)"
    return (
        f"{firewall}give the identity of {name} {need.role} on the account{scope}; an assignment takes minutes to count"
    )


def _sas_remedy(connection: Connection, need: Need) -> str:
    letters, resource = need.sas
    return (
        f"put a SAS into {connection.name} that has {' or '.join(letters)} among its permissions (sp) and "
        f"{resource} among its resource types (srt)"
    )


def _credential_remedy(connection: Connection) -> str:
    if connection.account_key:
        return f"the AccountKey in {connection.name} is no base64: copy the key again, all of it"
    if connection.connection_string:
        return f"copy the connection string of {connection.name} again, all of it"
    return (
        f"on Azure switch the app's identity on, or correct {connection.name}__clientId and its like; elsewhere log in "
        "(az login), or set __tenantId, __clientId and __clientSecret beside it"
    )
