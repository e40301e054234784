"""The report in a real browser: nothing fails, nothing is asked of a network, and hostile text stays text."""

import http.server
import re
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_cohort import Texts, write_cohort

from tasks.report import render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
INJECTION = (
    "<img src=x onerror=\"console.error('injected');document.title='injected'\">"
    "</script><script>console.error('injected')</script>"
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; install the package `chromium`")


def browse(page: str, profile: Path, *, picture: Path | None = None) -> tuple[str, str]:
    """The document after its scripts have run, and what Chromium logged (console, network, policy)."""
    profile.mkdir(parents=True, exist_ok=True)
    action = f"--screenshot={picture}" if picture else "--dump-dom"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
        f"--user-data-dir={profile}", f"--log-net-log={profile / 'net.json'}", "--net-log-capture-mode=Everything",
        "--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000", "--window-size=1200,1600", action, page,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def console(log: str) -> list[str]:
    """What pages wrote to the console, errors of policy and loading included."""
    return [line for line in log.splitlines() if "CONSOLE" in line]


def handlers(document: str) -> list[str]:
    """Event handlers in attributes, anywhere in the document."""
    found: list[str] = []

    class Collector(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(f"{tag} {name}" for name, _ in attrs if name.startswith("on"))

    Collector().feed(document)
    return found


def network_requests(profile: Path) -> list[str]:
    """Addresses that pages asked a network for, from Chromium's log; not what the browser does on its own account."""
    events = (profile / "net.json").read_text(errors="replace").splitlines()
    by_pages = [event for event in events if '"initiator":' in event and '"initiator":"not an origin"' not in event]
    addresses = [re.search(r'"url":"([^"]*)"', event) for event in by_pages]
    return [found[1] for found in addresses if found and not found[1].startswith(("file:", "data:"))]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report whose every text from outside is an attack."""
    root = tmp_path_factory.mktemp("hostile")
    texts = Texts(
        study=INJECTION.replace("/", "\\"), title=INJECTION, condition=INJECTION, centre=INJECTION, detail=INJECTION,
        model=INJECTION,
    )  # fmt: skip
    settings = write_cohort(root, people=24, images=2, texts=texts)
    return render_report(root / "cohort", settings).parent


@pytest.mark.parametrize("page", ["index.html", "studies/index.html", "studies/2000001-2.html", "hostile study"])
def test_a_page_opens_without_error_request_or_injection(report, tmp_path, page):
    path = next(report.glob("studies/study-*.html")) if page == "hostile study" else report / page
    document, log = browse(path.as_uri(), tmp_path / "profile")
    assert console(log) == []
    assert "</html>" in document
    assert "<title>injected</title>" not in document
    assert handlers(document) == []
    assert network_requests(tmp_path / "profile") == []


def test_the_player_draws_and_the_list_fills(report, tmp_path):
    document, _ = browse((report / "studies" / "2000001-2.html").as_uri(), tmp_path / "study")
    assert "Frame 1 of 8 · 0 ms · ED" in document
    assert 'width="560"' in document
    document, _ = browse((report / "studies" / "index.html").as_uri(), tmp_path / "list")
    assert "24 of 24 studies · page 1 of 1" in document
    assert '<a href="2000001-2.html">2000001-2</a>' in document


def test_the_frames_are_seen_with_their_contours(report, tmp_path):
    from PIL import Image

    picture = tmp_path / "study.png"
    browse((report / "studies" / "2000001-2.html").as_uri(), tmp_path / "profile", picture=picture)
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert {(230, 159, 0), (0, 158, 115), (86, 180, 233)} <= colours


def test_these_checks_notice_an_error_a_request_and_an_injection(tmp_path):
    seen: list[str] = []

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/beacon"
        bad = tmp_path / "bad.html"
        bad.write_text(f"<html><title>x</title><img src='{address}'>{INJECTION}</html>")
        document, log = browse(bad.as_uri(), tmp_path / "profile")
    finally:
        server.shutdown()
        server.server_close()
    assert any("injected" in line for line in console(log))
    assert "<title>injected</title>" in document
    assert handlers(document) == ["img onerror"]
    assert seen == ["/beacon"]
    assert address in network_requests(tmp_path / "profile")


def test_the_policy_stops_what_escaping_would_have_let_through(report, tmp_path):
    page = tmp_path / "site" / "index.html"
    shutil.copytree(report, page.parent)
    page.write_text(page.read_text().replace("<main>", f"<main>{INJECTION}", 1))
    document, log = browse(page.as_uri(), tmp_path / "profile")
    assert "<title>injected</title>" not in document
    assert any("Content Security Policy" in line for line in console(log))
