"""docs/operations.md and the examples: what they name exists, and what they say works."""

import getpass
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
from intentproof_receiver.errors import ANSWERS, READERS_ONLY
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.tls import Certificates, TlsFiles
from prometheus_client.parser import text_string_to_metric_families

from tests.receiver.serving import served, until
from tests.receiver.support import request_bytes, span_message
from tests.receiver.tls_support import Pki

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROMETHEUS = ROOT / "examples" / "prometheus"
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
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
    *("changes", "time", "or", "and", "le", "absent", "bool", "ignoring", "max_over_time"),
}


# The witness of the published test vectors, asked at a port where nobody answers.
WITNESS = "witness.example/1+feeeb50b+BOfxYqEL7FWa/qGV5NzoS2lWjV0ssJY+tEbAaF4rF/Lw"
PLACES = ("store", "home", "hot")


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in PromQL: what is left without selectors, labels and functions."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by |ignoring)\([^)]*\)", " ", expression)
    return set(re.findall(r"\b[a-z_][a-z0-9_]*\b", bare)) - _FUNCTIONS


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, set[str]]]:
    """Each metric of a real receiver, with its type and labels."""
    folder = tmp_path_factory.mktemp("page")
    _, key = create_key(folder / "home", tenant="acme", expires="90d")
    nobody = json.dumps([{"url": "http://127.0.0.1:9", "vkey": WITNESS}])
    with served(folder, environ={"INTENTPROOF_WITNESSES": nobody}) as running:
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


def test_every_refusal_alerts() -> None:
    """Each outcome that OTLP has in the table of errors is in an alert, but for a wrong method."""
    looked_at = "".join(rule["expr"] for rule in rules())
    of_otlp = [one for kind, one in ANSWERS.items() if kind not in READERS_ONLY]
    silent = {one.word for one in of_otlp if not re.search(rf"\b{one.word}\b", looked_at)}
    assert silent == {"method_not_allowed"}


def test_the_page_explains_every_alert() -> None:
    """The page has each alert, and no other."""
    assert re.findall(r"^- \*\*(\w+)\*\*", PAGE, flags=re.M) == [rule["alert"] for rule in rules()]


def promtool(*arguments: str) -> None:
    """Run promtool, which must succeed; skip where it is missing."""
    program = os.environ.get("PROMTOOL") or "promtool"
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs promtool, of Debian's package prometheus")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_files() -> None:
    """Prometheus itself reads the alerts and the scrape configuration."""
    promtool("check", "rules", str(PROMETHEUS / "alerts.yaml"))
    promtool("check", "config", "--syntax-only", str(PROMETHEUS / "scrape.yaml"))


def test_the_scrape_configuration() -> None:
    """It reads the rules, under the job's name that they take, over TLS at the port of HTTP."""
    scrape = yaml.safe_load((PROMETHEUS / "scrape.yaml").read_text())
    assert [(PROMETHEUS / name).is_file() for name in scrape["rule_files"]] == [True]
    (job,) = scrape["scrape_configs"]
    assert 'job="intentproof"' in "".join(rule["expr"] for rule in rules())
    assert (job["job_name"], job["scheme"]) == ("intentproof", "https")
    assert job["static_configs"][0]["targets"][0].endswith(":4318")


RENEWALS = 'intentproof_tls_renewals_total{instance="a",job="intentproof",result="%s"}'


@pytest.mark.parametrize(
    ("refused", "taken", "fires"),
    [
        ("0x10 1x50", "0x60", True),
        ("0x10 1x50", "0x10 1x50", False),
        ("0x10 1x50", "0x12 1x48", False),
        ("0x10 1x50", "0x5 1x55", True),
        ("0x10 1x20 0x30", "0x60", False),
    ],
    ids=["refused", "both", "taken after", "taken before", "started anew"],
)
def test_when_a_refused_certificate_alerts(
    refused: str, taken: str, *, fires: bool, tmp_path: Path
) -> None:
    """The alert stands while files were refused later than any were taken, a minute a sample."""
    rule = next(rule for rule in rules() if rule["alert"] == "IntentproofCertificateRefused")
    told = {"exp_labels": {**rule["labels"], "instance": "a", "job": "intentproof"}}
    test = {
        "interval": "1m",
        "input_series": [
            {"series": RENEWALS % "refused", "values": refused},
            {"series": RENEWALS % "taken", "values": taken},
        ],
        "alert_rule_test": [
            {
                "eval_time": "50m",
                "alertname": rule["alert"],
                "exp_alerts": [told | {"exp_annotations": rule["annotations"]}] * fires,
            }
        ],
    }
    document = {"rule_files": [str(PROMETHEUS / "alerts.yaml")], "tests": [test]}
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    promtool("test", "rules", str(tmp_path / "test.yaml"))


def test_a_receiver_that_prometheus_does_not_know_is_down(tmp_path: Path) -> None:
    """Without any target of the job the receiver counts as down."""
    rule = next(rule for rule in rules() if rule["alert"] == "IntentproofDown")
    told = {"exp_labels": {**rule["labels"], "job": "intentproof"}}
    alert = {
        "eval_time": "10m",
        "alertname": rule["alert"],
        "exp_alerts": [told | {"exp_annotations": rule["annotations"]}],
    }
    test = {"interval": "1m", "input_series": [], "alert_rule_test": [alert]}
    document = {"rule_files": [str(PROMETHEUS / "alerts.yaml")], "tests": [test]}
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    promtool("test", "rules", str(tmp_path / "test.yaml"))


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
    (tmp_path / "receiver.yaml").write_text("log_name: shop.example\n")
    user = getpass.getuser()
    as_root = f"setpriv --reuid={user} --regid={user} --init-groups"
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PWD": str(tmp_path),
        "INTENTPROOF_STORE": str(tmp_path / "store"),
        "INTENTPROOF_HOME": str(tmp_path / "home"),
        "INTENTPROOF_HOT": str(tmp_path / "hot"),
        "CONFIG": str(tmp_path / "receiver.yaml"),
        "SERVICE": user,
        "AS_SERVICE": "" if os.geteuid() else as_root,  # only root may become somebody
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
    config = ["--config", environ["CONFIG"]]
    with served(tmp_path, *config, environ=small | places) as running:
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
    folders = ["--store", str(tmp_path / "store"), "--home", str(tmp_path / "home")]
    capsys.readouterr()
    assert main(["log", "list", *folders]) == 0
    assert capsys.readouterr().out.count("acme ") == 1  # the new log has no event yet
    with served(tmp_path, *config, environ=places) as running:
        assert running.post(request_bytes(*spans), key) == 200  # what the Collectors had kept
        assert running.stop() == 0
    assert len(list((tmp_path / "store" / "log" / "acme").iterdir())) == 2  # both writers' logs
    assert main(["log", "key", *folders]) == 0
    assert capsys.readouterr().out.count("shop.example/") == 2  # as the configuration says
    assert main(["verify", "--sealed", *folders]) == 0
    query = "SELECT count(*) AS n FROM events"
    assert main(["sql", query, "--tenant", "acme", "--format", "json", *folders]) == 0
    assert '"n":100' in capsys.readouterr().out.replace(" ", "").replace('"n":"100"', '"n":100')


def test_a_new_writer_is_of_the_deployment() -> None:
    """It gets the deployment's configuration, its user, and ports that nobody sends to."""
    (block,) = (one for one in blocks("Restore") if "--new-writer" in one)
    for part in ("$AS_SERVICE ", '--config "$CONFIG"', "--grpc 127.0.0.1:0", "--http 127.0.0.1:0"):
        assert part in block


def test_what_a_restored_store_cannot_know(
    tmp_path: Path, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With all of one moment plain `verify` misses nothing; only a newer checkpoint tells."""
    _, key = create_key(tmp_path / "home", tenant="acme")
    for number in (1, 2):
        with served(tmp_path, environ={"INTENTPROOF_HOT": environ["INTENTPROOF_HOT"]}) as running:
            assert running.post(request_bytes(span_message(number)), key) == 200
            assert running.stop() == 0
        if number == 1:
            run_blocks("Back up", environ)
    for name in ("store", "home", "hot"):
        (tmp_path / name).rename(tmp_path / f"lost-{name}")
    run_blocks("Restore", environ)
    folders = [f"--{name}={environ[f'INTENTPROOF_{name.upper()}']}" for name in PLACES]
    capsys.readouterr()
    assert main(["verify", *folders]) == 0
    assert "VERIFIED" in capsys.readouterr().out
    (newer,) = (tmp_path / "lost-store").glob("log/acme/*/checkpoint")
    assert main(["verify", "--known", str(newer), *folders]) == 2


def test_a_shared_file_of_keys(tmp_path: Path) -> None:
    """A link to the file in a shared folder follows each change: a revoked key is refused."""
    shared = tmp_path / "shared"
    record, key = create_key(shared, tenant="acme")
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "api-keys.json").symlink_to(shared / "api-keys.json")
    with served(tmp_path) as running:
        assert running.post(request_bytes(span_message()), key) == 200
        assert main(["keys", "revoke", record.id, "--home", str(shared)]) == 0
        until(lambda: running.post(request_bytes(span_message()), key) == 401, what="401")


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
