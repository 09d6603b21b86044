"""What is read out of azcopy's output, from recordings of the real program (resources/azcopy/README.md)."""

import io
import json
from pathlib import Path

import pytest

from shared.adapters.azcopy_access import redactor
from shared.adapters.azcopy_output import AzcopyRun, read_output
from shared.decisions.mirroring import failure_of
from shared.decisions.sync_report import Problems

RECORDINGS = Path(__file__).parent / "resources" / "azcopy"
SOURCE = "http://127.0.0.1:10000/source/lake"


def read(name: str, exit_code: int = 0, *, log: str = "", stderr: str = "", secrets: tuple[str, ...] = ()) -> AzcopyRun:
    return read_text((RECORDINGS / f"{name}.jsonl").read_text(), exit_code, log=log, stderr=stderr, secrets=secrets)


def read_text(
    output: str, exit_code: int = 0, *, log: str = "", stderr: str = "", secrets: tuple[str, ...] = ()
) -> AzcopyRun:
    return read_output(
        io.StringIO(output),
        log.splitlines(),
        source_url=SOURCE,
        exit_code=exit_code,
        stderr=stderr,
        redact=redactor(secrets),
    )


def test_a_completed_run_is_a_success_with_its_counters() -> None:
    run = read("completed")

    assert failure_of(run.outcome) is None
    assert (run.outcome.total, run.outcome.copied, run.outcome.bytes_copied) == (3, 3, 21)
    assert not run.failed
    assert not run.skipped


def test_a_failed_file_is_listed_with_the_reason_from_the_log() -> None:
    run = read("file_failed", 1, log=(RECORDINGS / "file_failed.log").read_text())

    reason = "412 There is currently a lease on the blob and no lease ID was specified in the request.. When Committing"
    assert [(name, text[: len(reason)]) for name, text in run.failed.listed] == [("sub/c d.txt", reason)]
    assert "CompletedWithErrors" in str(failure_of(run.outcome))
    assert (run.outcome.copied, run.outcome.failed) == (2, 1)


def test_a_failed_file_has_its_status_where_the_log_is_silent() -> None:
    assert read("file_failed", 1).failed.listed == [("sub/c d.txt", "the service answered 412")]


def test_skipped_files_are_a_failure_although_azcopy_exits_with_0() -> None:
    run = read("files_skipped", 0)

    assert "CompletedWithSkipped" in str(failure_of(run.outcome))
    assert sorted(run.skipped.listed) == [
        (name, "SkippedEntityAlreadyExists") for name in ("a.txt", "b.txt", "sub/c d.txt", "tagged.txt")
    ]


@pytest.mark.parametrize(
    ("recording", "exit_code", "reason"),
    [
        ("cancelled_by_refusal", 1, "Authentication failed"),
        ("unreadable_source", 1, "AuthorizationPermissionMismatch"),
        ("completed_but_unaccounted", 0, "of 3 files to copy it accounts for 2"),
        ("terminated", 1, "Cancelled"),
    ],
)
def test_a_run_that_did_not_copy_everything_is_a_failure(recording: str, exit_code: int, reason: str) -> None:
    assert reason in str(failure_of(read(recording, exit_code).outcome))


def test_a_terminated_run_still_tells_what_it_copied() -> None:
    assert read("terminated", 1).outcome.copied == 7


def test_a_panic_is_a_failure_with_its_reason() -> None:
    run = read("panic", 2, stderr=(RECORDINGS / "panic.stderr").read_text())

    assert "without a summary, exit code 2: panic: write" in str(failure_of(run.outcome))
    assert "no space left on device" in str(failure_of(run.outcome))


@pytest.mark.parametrize("name", [file.stem for file in sorted(RECORDINGS.glob("*.jsonl"))])
def test_no_recording_that_is_cut_short_counts_as_a_success(name: str) -> None:
    lines = (RECORDINGS / f"{name}.jsonl").read_text().splitlines()

    for end in range(len(lines)):
        assert failure_of(read_text("\n".join(lines[:end])).outcome) is not None


@pytest.mark.parametrize(
    "line",
    [
        "panic: runtime error",
        '{"MessageType":"EndOfJob"}',
        '{"MessageType":"EndOfJob","MessageContent":"{}"}',
        '{"MessageType":"EndOfJob","MessageContent":"null"}',
        '{"MessageType":"Progress","MessageContent":"{\\"TotalTransfers\\":\\"many\\"}"}',
        "[]",
        '"text"',
        '{"MessageType":"Info","MessageContent":null}',
        '{"MessageType":"Error","MessageContent":null}',
    ],
)
def test_a_line_that_is_not_understood_makes_the_run_a_failure(line: str) -> None:
    completed = (RECORDINGS / "completed.jsonl").read_text()

    assert "not understood" in str(failure_of(read_text(completed + line + "\n").outcome))


def test_files_that_fail_are_counted_over_all_messages_and_listed_up_to_a_bound() -> None:
    lines = [json.loads(line) for line in (RECORDINGS / "file_failed.jsonl").read_text().splitlines()]
    progress = next(line for line in lines if line["MessageType"] == "Progress")
    output = "\n".join([json.dumps(progress)] * 1500)

    failed = read_text(output, 1).failed

    assert (failed.total, len(failed.listed)) == (1500, Problems.LISTED)


def test_hard_names_are_read_byte_for_byte() -> None:
    content = json.loads(json.loads((RECORDINGS / "file_failed.jsonl").read_text().splitlines()[3])["MessageContent"])
    content["FailedTransfers"][0]["Src"] = f"{SOURCE}/a//b%2525/%C3%A9%3F%23+%20"
    line = json.dumps({"MessageType": "Progress", "MessageContent": json.dumps(content)})

    assert read_text(line, 1).failed.listed[0][0] == "a//b%25/é?#+ "


def test_what_azcopy_says_is_given_out_without_the_secrets_of_the_run() -> None:
    sas = "se=2026-11-20T18%3A00%3A00Z&sp=rl&sig=c2VjcmV0%2Bkey%3D"
    error = json.dumps({"MessageType": "Error", "MessageContent": f"cannot GET {SOURCE}?{sas} and c2VjcmV0+key="})
    run = read_text(error, 1, log=f"COPYFAILED: {SOURCE}/a : 403 : {sas}", stderr=sas, secrets=(sas,))

    assert "c2VjcmV0" not in repr(run)
    assert "REDACTED" in run.outcome.errors[0]
