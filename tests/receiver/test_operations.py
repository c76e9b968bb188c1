"""docs/operations.md and the examples: what they name exists, and what they say works."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from intentproof_receiver.cli import COMMANDS, main
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.tls import Certificates, TlsFiles
from prometheus_client.parser import text_string_to_metric_families

from tests.receiver.serving import served, until
from tests.receiver.support import request_bytes, span_message
from tests.receiver.tls_support import Pki

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "examples" / "prometheus" / "alerts.yaml").read_text())
DASHBOARD = json.loads((ROOT / "examples" / "grafana" / "dashboard.json").read_text())
# What the Collector of collector/manifest.yaml tells, without suffixes; and Prometheus itself.
OF_OTHERS = {
    "otelcol_exporter_send_failed_spans",
    "otelcol_exporter_enqueue_failed_spans",
    "otelcol_exporter_queue_size",
    "otelcol_exporter_queue_capacity",
    "otelcol_receiver_refused_spans",
    "up",
}
_FUNCTIONS = {
    *("rate", "increase", "sum", "by", "min", "max", "histogram_quantile", "predict_linear"),
    *("changes", "time", "or", "and", "le"),
}


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in PromQL: what is left without selectors, labels and functions."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)", " ", expression)
    return set(re.findall(r"\b[a-z_][a-z0-9_]*\b", bare)) - _FUNCTIONS


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, set[str]]]:
    """Each metric of a real receiver, with its type and labels."""
    folder = tmp_path_factory.mktemp("page")
    _, key = create_key(folder / "home", tenant="acme", expires="90d")
    with served(folder) as running:
        assert running.post(request_bytes(span_message(intent="")), key) == 200
        (folder / "home" / "api-keys.json").rename(folder / "keys")
        until(lambda: running.post(b"", key) == 503, what="a refusal")
        page = running.call("/metrics")[1]
    pki = Pki(folder)
    of_tls = Certificates(TlsFiles(pki.certificate, pki.key, None))  # these come with TLS only
    found = {}
    for family in (*text_string_to_metric_families(page), *of_tls.collect()):
        if not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for one in family.samples for label in one.labels}
            found[name] = (family.type, labels - {"le", "version", "python"})
    return found


def names_of(families: dict[str, tuple[str, set[str]]]) -> set[str]:
    """Every name that a query may use."""
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + part for name, (kind, _) in families.items() for part in parts.get(kind, ("",))}


def test_the_table_of_metrics(families: dict[str, tuple[str, set[str]]]) -> None:
    """The page has every metric with its type and labels, and no other."""
    rows = re.findall(r"^\| `([a-z_]+)(?:\{([a-z_, ]+)\})?` \| (\w+) \|", PAGE, flags=re.M)
    told = {name: (kind, set(filter(None, labels.split(", ")))) for name, labels, kind in rows}
    assert told == families


def test_alerts_are_whole() -> None:
    """Each alert says for how long, how bad, what it means and what to do."""
    for rule in rules():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "action"}
        assert all(rule["annotations"].values())


def test_alerts_name_metrics_that_exist(families: dict[str, tuple[str, set[str]]]) -> None:
    """Whatever an alert asks for is told by the receiver or the Collector."""
    known = names_of(families) | OF_OTHERS
    for rule in rules():
        asked = metrics_in(rule["expr"])
        assert asked, rule["alert"]
        assert asked <= known, (rule["alert"], asked - known)


def test_alerts_name_outcomes_that_exist(families: dict[str, tuple[str, set[str]]]) -> None:
    """Every permanent refusal of the table of errors has its alert."""
    from_table = {
        *("unauthenticated", "forbidden", "invalid", "unreadable", "too_large"),
        *("unsupported_media", "unsupported_encoding"),
    }
    rule = next(rule for rule in rules() if rule["alert"] == "IntentproofEvidenceRefused")
    match = re.search(r'outcome=~"([a-z_|]+)"', rule["expr"])
    assert match
    assert set(match[1].split("|")) == from_table


def test_the_page_explains_every_alert() -> None:
    """The page has each alert, and no other."""
    assert re.findall(r"^- \*\*(\w+)\*\*", PAGE, flags=re.M) == [rule["alert"] for rule in rules()]


def test_promtool_takes_the_rules() -> None:
    """Prometheus itself reads the file of alerts."""
    promtool = os.environ.get("PROMTOOL") or "promtool"
    path = ROOT / "examples" / "prometheus" / "alerts.yaml"
    try:
        done = subprocess.run(
            [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("needs promtool, of Debian's package prometheus")
    assert done.returncode == 0, done.stderr


def test_the_dashboard(families: dict[str, tuple[str, set[str]]]) -> None:
    """Every panel has a title, a place of its own and queries of metrics that exist."""
    known = names_of(families) | OF_OTHERS
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            asked = metrics_in(target["expr"].replace("${datasource}", ""))
            assert asked, panel["title"]
            assert asked <= known, (panel["title"], asked - known)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_ours_is_on_the_dashboard(
    families: dict[str, tuple[str, set[str]]],
) -> None:
    """What the receiver counts is looked at somewhere: on the dashboard or by an alert."""
    looked_at: set[str] = set()
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            looked_at |= metrics_in(target["expr"])
    for rule in rules():
        looked_at |= metrics_in(rule["expr"])
    ours = {name for name in families if name.startswith("intentproof_")}
    forgotten = {name for name in ours if not any(one.startswith(name) for one in looked_at)}
    assert forgotten <= {"intentproof_message_bytes_max", "intentproof_ledger_frames_total"}


def test_the_page_names_commands_that_exist() -> None:
    """Every command of the page can be called."""
    named = set(re.findall(r"intentproof-otel ([a-z]+)", PAGE))
    assert named <= set(COMMANDS), named - set(COMMANDS)


def test_links_lead_somewhere() -> None:
    """Every file that the page links to is there."""
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def blocks(heading: str) -> list[str]:
    """The blocks of a section that are run as they stand."""
    section = re.split(rf"^#+ {heading}$", PAGE, flags=re.M)[1]
    section = re.split(r"^#+ ", section, flags=re.M)[0]
    return re.findall(r"^```bash\n(.*?)^```", section, flags=re.M | re.S)


def run_blocks(heading: str, environ: dict[str, str]) -> str:
    """Run a section's blocks in one shell, which ends at the first failure."""
    found = blocks(heading)
    assert found
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(found)],
        env=environ,
        cwd=environ["PWD"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment that the page takes for granted."""
    for name in ("backup", "secrets"):
        (tmp_path / name).mkdir()
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PWD": str(tmp_path),
        "INTENTPROOF_STORE": str(tmp_path / "store"),
        "INTENTPROOF_HOME": str(tmp_path / "home"),
        "INTENTPROOF_HOT": str(tmp_path / "hot"),
        "INTENTPROOF_GRPC": "127.0.0.1:0",
        "INTENTPROOF_HTTP": "127.0.0.1:0",
        "BACKUP": str(tmp_path / "backup"),
        "BACKUP_OF_SECRETS": str(tmp_path / "secrets" / "home"),
    }


def test_back_up_and_restore(
    tmp_path: Path, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's commands save a live store and bring it back under a new writer, whole."""
    _, key = create_key(tmp_path / "home", tenant="acme")
    spans = [span_message(number) for number in range(1, 101)]
    small = {"INTENTPROOF_SEAL_ROWS": "20", "INTENTPROOF_CHECKPOINT_SECONDS": "1"}
    places = {"INTENTPROOF_HOT": str(tmp_path / "hot")}
    with served(tmp_path, environ=small | places) as running:
        for first in range(0, 100, 10):
            assert running.post(request_bytes(*spans[first : first + 10]), key) == 200
        assert "VERIFIED" in run_blocks("Back up", environ)
        running.popen.kill()
        running.popen.wait(30)
    for name in ("store", "home", "hot"):
        (tmp_path / name).rename(tmp_path / f"lost-{name}")
    told = run_blocks("Restore", environ)
    assert "VERIFIED" in told
    assert '"event": "closed"' in told
    assert len(list((tmp_path / "home").glob("former-writer"))) == 1
    with served(tmp_path, environ=places) as running:
        assert running.post(request_bytes(*spans), key) == 200  # what the Collectors had kept
        assert running.stop() == 0
    assert len(list((tmp_path / "store" / "log" / "acme").iterdir())) == 2  # both writers' logs
    folders = ["--store", str(tmp_path / "store"), "--home", str(tmp_path / "home")]
    capsys.readouterr()
    assert main(["verify", "--sealed", *folders]) == 0
    query = "SELECT count(*) AS n FROM events"
    assert main(["sql", query, "--tenant", "acme", "--format", "json", *folders]) == 0
    assert '"n":100' in capsys.readouterr().out.replace(" ", "").replace('"n":"100"', '"n":100')


def test_rotating_keys(tmp_path: Path, environ: dict[str, str]) -> None:
    """The page's commands make a key that works beside the old one."""
    _, old = create_key(tmp_path / "home", tenant="acme")
    with served(tmp_path) as running:
        run_blocks("API keys", environ)
        new = (tmp_path / "new-key.txt").read_text().strip()
        assert [running.post(request_bytes(span_message()), key) for key in (old, new)] == [200] * 2


def test_the_package_has_what_the_examples_call() -> None:
    """The console script of the unit and the image is the package's."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert list(scripts) == ["intentproof-otel"]
