"""The systemd unit, the image and the composition: what can be seen of them without an engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from intentproof_receiver.cli import main
from intentproof_receiver.config import Config, load
from intentproof_receiver.key_commands import create_key

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "examples" / "systemd" / "intentproof-otel.service"
DOCKER = ROOT / "examples" / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    """The unit's settings, of which several may have one name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def settings(pairs: list[str]) -> Config:
    """The configuration that an environment of `NAME=value` makes; raises where it is bad."""
    return load(environ=dict(pair.split("=", 1) for pair in pairs), flags={})


def test_the_unit_is_hardened(unit: dict[str, list[str]]) -> None:
    """It may write to its three folders only, and gains no privilege."""
    config = settings(unit["Environment"])
    writable = unit["ReadWritePaths"][0].split()
    for folder in (config.store, config.hot_folder, config.home):
        assert any(folder.is_relative_to(path) for path in writable)
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert not config.home.is_relative_to(config.store.parent)


def test_the_unit_waits_for_a_stop(unit: dict[str, list[str]]) -> None:
    """A stop has longer than draining takes, and a start that replays is not cut off."""
    assert int(unit["TimeoutStopSec"][0]) > 2 * Config().drain_seconds
    assert unit["TimeoutStartSec"] == ["infinity"]
    assert unit["KillSignal"] == ["SIGTERM"]


def test_the_unit_restarts_what_may_heal(unit: dict[str, list[str]]) -> None:
    """It is restarted for ever, but not after exit codes that people must look at."""
    assert unit["Restart"] == ["always"]
    assert unit["RestartPreventExitStatus"] == ["6 8"]
    assert unit["StartLimitIntervalSec"] == ["0"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Systemd itself finds nothing to complain of, and rates its exposure as low."""
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("needs systemd-analyze")
    text = UNIT.read_text().replace("/opt/intentproof/bin/intentproof-otel", "/bin/true")
    path = tmp_path / UNIT.name
    path.write_text(text.replace("=intentproof\n", "=root\n"))  # a user that is there
    verified = subprocess.run(
        [analyze, "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    path.write_text(text)
    rated = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-300:]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def of(name: str) -> list[str]:
    return [value for word, value in instructions() if word == name]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for value in of("ENV") for pair in value.split())


def test_the_image_is_rootless() -> None:
    """It runs as a number that is not root, and its volumes belong to that number."""
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    made = next(value for value in of("RUN") if "install -d" in value)
    uid, gid = user.split(":")
    assert f"-o {uid} -g {gid} -m 0700" in made
    (volumes,) = of("VOLUME")
    for volume in json.loads(volumes):
        assert re.search(rf"\s{volume}(\s|$)", made)


def test_the_image_writes_into_its_volumes_only() -> None:
    """Store, hot folder and home are volumes, each its own."""
    volumes = set(json.loads(of("VOLUME")[0]))
    pairs = [f"{name}={value}" for name, value in image_environment().items()]
    config = settings(pairs)
    assert {str(config.store), str(config.hot_folder), str(config.home)} == volumes
    assert image_environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_image_copies_no_secret() -> None:
    """Only sources get to the builder, and all that the wheel needs."""
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {source for value in of("COPY") for source in value.split()[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)
    assert not [value for value in of("ENV") + of("ARG") if re.search(r"(?i)secret|token", value)]


def test_the_image_is_healthy_when_ready() -> None:
    """Its health check asks /ready with Python alone, as the composition's does."""
    (check,) = of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    assert "/ready" in command[2]
    assert SERVICES["receiver"]["healthcheck"]["test"] == ["CMD", *command]


def test_what_the_image_calls_exists() -> None:
    """Its entry point and command are a command line that our parser takes."""
    (entry,), (command,) = map(json.loads, of("ENTRYPOINT")), map(json.loads, of("CMD"))
    assert entry == ["intentproof-otel"]
    assert main([*command, "--help"]) == 0


def test_the_composition_is_hardened() -> None:
    """Every service has a read-only root, no capability and no way to gain one."""
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name


def test_the_composition_starts_in_order() -> None:
    """First the key, then the receiver, then the Collector when that is healthy."""
    assert SERVICES["receiver"]["depends_on"] == {
        "key": {"condition": "service_completed_successfully"}
    }
    assert SERVICES["collector"]["depends_on"] == {"receiver": {"condition": "service_healthy"}}


def test_the_composition_keeps_what_matters() -> None:
    """All that the receiver writes, and the Collector's queue, are volumes that are declared."""
    declared = set(COMPOSE["volumes"])
    mounted = {
        name: dict(volume.split(":")[:2][::-1] for volume in service["volumes"])
        for name, service in SERVICES.items()
    }
    for volume in json.loads(of("VOLUME")[0]):
        assert mounted["receiver"][volume] in declared
    queue = SERVICES["collector"]["environment"]["INTENTPROOF_COLLECTOR_QUEUE"]
    assert mounted["collector"][queue] in declared
    # The first image that mounts an empty volume decides who owns it.
    made = next(value for value in of("RUN") if "install -d" in value)
    assert queue in made
    assert mounted["key"][queue] == mounted["collector"][queue]
    assert SERVICES["collector"]["user"] == of("USER")[0]


def test_the_composition_waits_for_a_stop() -> None:
    """The receiver has longer to stop than draining takes."""
    match = re.fullmatch(r"(\d+)m", SERVICES["receiver"]["stop_grace_period"])
    assert match
    assert int(match[1]) * 60 > 2 * Config().drain_seconds


def test_the_composition_uses_the_collector_of_the_tests() -> None:
    """The image is pinned to the version that the tests build, and reads our configuration."""
    manifest = yaml.safe_load((ROOT / "collector" / "manifest.yaml").read_text())
    tag = SERVICES["collector"]["image"].partition(":")[2]
    assert tag == str(manifest["dist"]["version"])
    source = SERVICES["collector"]["volumes"][0].split(":")[0]
    config = (DOCKER / source).resolve()
    known = set(re.findall(r"\$\{env:(\w+)", config.read_text()))
    assert set(SERVICES["collector"]["environment"]) <= known


def test_nothing_listens_beyond_this_machine() -> None:
    """Ports are on loopback, and the receiver has none on the host."""
    assert "ports" not in SERVICES["receiver"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["collector"]["ports"])
    assert COMPOSE["networks"]["evidence"]["internal"] is True


def test_compose_takes_the_composition() -> None:
    """Docker's own plug-in reads the file."""
    docker = shutil.which("docker")
    command = [docker or "docker", "compose"]
    if (
        not docker
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the plug-in docker compose")
    done = subprocess.run(
        [*command, "-f", str(DOCKER / "compose.yaml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the image would install, built from what the builder would get."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "src"
    source.mkdir()
    for value in of("COPY"):
        *names, target = value.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / target)
            else:
                shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


RUN = """
import sys
sys.path.insert(0, {site!r})
from intentproof_receiver import cli
assert cli.__file__.startswith({site!r}), cli.__file__
sys.exit(cli.main())
"""


@pytest.mark.root
def test_serve_runs_from_the_wheel_on_a_read_only_root(site: Path, tmp_path: Path) -> None:
    """With the image's environment `serve` starts, takes a span and stops where / is read-only."""
    unshare = shutil.which("unshare")
    if os.geteuid() or not unshare:
        pytest.skip("needs root and unshare to mount the root file system read-only")
    folders = {name: tmp_path / value.strip("/") for name, value in image_environment().items()}
    environ = {name: str(path) for name, path in folders.items() if name.startswith("INTENT")}
    create_key(Path(environ["INTENTPROOF_HOME"]), tenant="acme")
    environ |= {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    argv = ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    inside = (
        f"mount --make-rprivate / && mount --bind {tmp_path} {tmp_path} && "
        'mount -o remount,bind,ro / && ! touch /read-only 2>/dev/null && cd / && exec "$@"'
    )
    script = RUN.format(site=str(site))
    popen = subprocess.Popen(
        [unshare, "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", script, *argv],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert popen.stderr is not None
    try:
        ready = json.loads(popen.stderr.readline())
        assert ready["event"] == "ready"
        with urllib.request.urlopen(f"http://{ready['http']}/ready", timeout=20) as answer:
            assert answer.status == 200
        popen.terminate()
        rest = popen.stderr.read()
        assert popen.wait(60) == 0, rest
    finally:
        popen.kill()
        popen.wait(30)
        popen.stderr.close()
    assert Path(environ["INTENTPROOF_HOME"], "signing.key").exists()
