"""Wrong settings stop the app at its start, with one message that names them all and shows no secret."""

import os
from pathlib import Path

from tests.e2e.programs import ROOT, Program

SECRET = "c2VjcmV0IGtleSwgbm90IHRvIGJlIHNob3du"
WRONG = {
    "BackupStorage": f"AccountKey={SECRET};Endpoint=somewhere",
    "BackupQueue__queueServiceUri": "http://example.org",
    "AzureWebJobsStorage": f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={SECRET}",
    "SNAPKEEP_ENGINE": "fast",
    "SNAPKEEP_ADF_MIN_BYTES": "many",
    "SNAPKEEP_HISTORY": "some",
    "SNAPKEEP_SYNC_CONTAINERS": "Lake",
    "SNAPKEEP_SYNC_SCHEDULE": "hourly",
    "SNAPKEEP_USE_LEASE": "perhaps",
}
MISSING = "SourceStorage"


def test_wrong_settings_stop_the_host_with_one_message_that_names_them_all(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAPKEEP_")} | WRONG
    program = Program(*("host", "--app", str(ROOT), "--port", "0"), environment=environment, log=tmp_path / "host.log")
    assert program.wait() == 1
    program.kill()
    for name in (MISSING, *(name for name in WRONG if name != "AzureWebJobsStorage")):
        assert name in program.log
    assert program.log.count("wrong settings:") == 1
    assert "Traceback" not in program.log
    assert SECRET not in program.log
