"""What the doctor finds: of a machine, of a cohort that is held, damaged or full, and of a server that is not there."""

import http.server
import shutil
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.maintenance import doctor
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.runs import hold
from tasks.state.store import Cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    cohort = Cohort(tmp_path / "cohort")
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([Outcome("1000012-2", "convert", "ok")])
    return cohort


def _found(cohort: Cohort | None, **environment: str) -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in doctor.examine(cohort, environment)}


def test_a_machine_and_a_cohort_are_told_in_lines_that_name_nobody(cohort: Cohort) -> None:
    found = _found(cohort, https_proxy="http://me:secret@proxy:3128", NO_PROXY="localhost")
    assert {"versions", "gpu", "disk", "inodes", "lock", "proxy", "server", "ledger", "runs"} <= found.keys()
    text = "\n".join(finding.line() for finding in found.values())
    assert "1000012" not in text
    assert "secret" not in text
    assert found["proxy"].text == "https_proxy=***@proxy:3128, no_proxy=localhost"
    assert "prefect 3" in found["versions"].text
    assert found["server"].verdict == "ok"
    assert found["lock"].text == "no command has used the cohort yet"
    size = cohort.ledger.stat().st_size / 1e6
    assert found["ledger"].text == f"{size:,.1f} MB, 0.0 MB of it not merged"


def test_a_cohort_in_use_a_full_disk_and_a_damaged_ledger_are_noticed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold(cohort):
        assert _found(cohort)["lock"].verdict == "look"
    assert _found(cohort)["lock"] == ("lock", "ok", "free")
    usage = shutil.disk_usage(cohort.root)._replace(total=10**12, free=19 * 10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert _found(cohort)["disk"] == ("disk", "look", "19.0 of 1000.0 GB are free")
    content = bytearray(cohort.ledger.read_bytes())
    content[100:] = b"x" * (len(content) - 100)
    cohort.ledger.write_bytes(content)
    assert _found(cohort)["ledger"].verdict == "fault"


def test_a_named_server_answers_or_is_a_fault(cohort: Cohort) -> None:
    class Healthy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api"
        assert _found(cohort, PREFECT_API_URL=address)["server"].verdict == "ok"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    assert _found(cohort, PREFECT_API_URL=address)["server"].verdict == "fault"
    assert _found(None, PREFECT_API_URL="file:///etc/passwd")["server"].verdict == "fault"


def test_the_command_ends_with_its_status_and_prints_json(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    result = CliRunner().invoke(main, ["doctor", "--json", "--cohort", str(cohort.root)])
    assert result.exit_code == 0, result.output
    assert '"what": "ledger"' in result.output
    monkeypatch.setenv("PREFECT_API_URL", "nowhere")
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1
