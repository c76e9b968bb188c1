"""API keys: how they are made, kept and read."""

import argparse
import hashlib
import json
import stat
import threading
from datetime import datetime
from pathlib import Path

import pytest
from intentproof_receiver import homefile
from intentproof_receiver.cli import main
from intentproof_receiver.credentials import api_key_of
from intentproof_receiver.errors import (
    Forbidden,
    KeysUnavailable,
    Unauthenticated,
    Unusable,
    answer_to,
)
from intentproof_receiver.key_commands import create_key, run_revoke
from intentproof_receiver.keys import FILE_NAME, KeyStore, utc


@pytest.fixture(autouse=True)
def _always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homefile, "LOOK_EVERY_S", 0.0)


def revoke(home: Path, key_id: str) -> int:
    return run_revoke(argparse.Namespace(home=home, key_id=key_id))


def test_a_key_says_who_sends(home: Path) -> None:
    """A key decides tenant and roles; without roles it may ingest and read."""
    record, text = create_key(home, tenant="acme")
    principal = KeyStore(home).authenticate(text)
    assert (principal.tenant, principal.roles) == ("acme", ("ingest", "read"))
    assert principal.key_id == record.id


def test_only_hashes_are_kept(home: Path) -> None:
    """The file holds no secret and is its owner's only, as its folder is."""
    _, text = create_key(home, tenant="acme")
    content = (home / FILE_NAME).read_text()
    assert text[-43:] not in content  # a secret may have an underscore, too
    assert text not in content
    secret = text[-43:].encode()
    assert json.loads(content)["keys"][0]["sha256"] == hashlib.sha256(secret).hexdigest()
    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", [None, ""])
def test_no_key(home: Path, text: str | None) -> None:
    """No key is refused as such, even before there is a file of keys."""
    with pytest.raises(Unauthenticated, match="no API key"):
        KeyStore(home).authenticate(text)


@pytest.mark.parametrize("change", ["id", "secret", "form"])
def test_unknown_keys(home: Path, change: str) -> None:
    """Another id, another secret and another form are all just unknown."""
    _, text = create_key(home, tenant="acme")
    wrong = {
        "id": text.replace(text[4:16], "f" * 12),
        "secret": text[:-43] + "A" * 43,
        "form": "secret",
    }[change]
    with pytest.raises(Unauthenticated, match=r"^unknown API key$"):
        KeyStore(home).authenticate(wrong)


def test_a_running_store_sees_changes(home: Path) -> None:
    """New and revoked keys are seen by a receiver that runs."""
    record, text = create_key(home, tenant="acme")
    store = KeyStore(home)
    store.authenticate(text)
    _, second = create_key(home, tenant="other")
    assert store.authenticate(second).tenant == "other"
    assert revoke(home, record.id) == 0
    with pytest.raises(Unauthenticated, match="was revoked"):
        store.authenticate(text)


def test_keys_of_a_tenant_overlap(home: Path) -> None:
    """A new key leaves its tenant's old one in force until that is revoked."""
    old, old_text = create_key(home, tenant="acme")
    _, new_text = create_key(home, tenant="acme")
    store = KeyStore(home)
    assert [store.authenticate(text).tenant for text in (old_text, new_text)] == ["acme", "acme"]
    assert revoke(home, old.id) == 0
    assert store.authenticate(new_text).tenant == "acme"
    with pytest.raises(Unauthenticated):
        store.authenticate(old_text)


def test_an_unknown_key_is_looked_for_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was just made works without waiting for the next look."""
    monkeypatch.setattr(homefile, "LOOK_EVERY_S", 3600.0)
    _, text = create_key(home, tenant="acme")
    store = KeyStore(home)
    store.authenticate(text)
    _, second = create_key(home, tenant="acme")
    store.authenticate(second)


def test_expiry(home: Path) -> None:
    """A key ends on its day, and the refusal names the day."""
    record, text = create_key(home, tenant="acme", expires="90d")
    end = datetime.fromisoformat(record.expires).timestamp()
    KeyStore(home, clock=lambda: end - 1).authenticate(text)
    with pytest.raises(Unauthenticated, match=f"expired on {record.expires[:10]}"):
        KeyStore(home, clock=lambda: end).authenticate(text)


def test_roles(home: Path) -> None:
    """A key without a role is forbidden what needs it."""
    _, text = create_key(home, tenant="acme", roles=["read", "read"])
    principal = KeyStore(home).authenticate(text)
    assert principal.roles == ("read",)
    with pytest.raises(Forbidden, match="ingest"):
        principal.require("ingest")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":[{}]}',
        b'{"keys":[{"id":"a","tenant":"../b","roles":[],"sha256":"'
        + b"0" * 64
        + b'","created":""}]}',
        b'{"keys":[{"id":"a","tenant":"b","roles":[],"sha256":"","created":""}]}',
        b"\xff",
    ],
)
def test_a_damaged_file_is_our_fault(home: Path, content: bytes) -> None:
    """A file of keys that cannot be read is retryable, never 'unauthenticated'."""
    _, text = create_key(home, tenant="acme")
    (home / FILE_NAME).write_bytes(content)
    with pytest.raises(KeysUnavailable) as caught:
        KeyStore(home).authenticate(text)
    assert answer_to(caught.value).retryable


def test_a_missing_file_is_our_fault(home: Path) -> None:
    """A file of keys that is gone, perhaps with its disk, is retryable too."""
    _, text = create_key(home, tenant="acme")
    (home / FILE_NAME).unlink()
    with pytest.raises(KeysUnavailable, match="keys create"):
        KeyStore(home).authenticate(text)


def test_parallel_creation_loses_none(home: Path) -> None:
    """Keys made at the same time are all kept."""
    threads = [
        threading.Thread(target=create_key, args=(home,), kwargs={"tenant": "acme"})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((home / FILE_NAME).read_bytes())["keys"]) == 8


@pytest.mark.parametrize("tenant", ["_system", "Acme", "a/b", "../b", "", "x" * 64])
def test_bad_tenants(home: Path, tenant: str) -> None:
    """A tenant that is not an id, or is ours, gets no key."""
    with pytest.raises(Unusable, match="--tenant"):
        create_key(home, tenant=tenant)
    assert not home.exists()


@pytest.mark.parametrize("expires", ["90", "0d", "-1d", "1y", "d"])
def test_bad_lifetimes(home: Path, expires: str) -> None:
    """A lifetime is a number and a unit."""
    with pytest.raises(Unusable, match="--expires"):
        create_key(home, tenant="acme", expires=expires)


def test_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`keys create` prints the key alone, `list` shows it without secrets, `revoke` ends it."""
    place = ["--home", str(home)]
    assert main(["keys", "create", "--tenant", "acme", "--expires", "2w", *place]) == 0
    key = capsys.readouterr().out.strip()
    assert KeyStore(home).authenticate(key).tenant == "acme"
    key_id = key.split("_")[1]
    assert main(["keys", "list", *place]) == 0
    table = capsys.readouterr().out
    assert key_id in table
    assert key not in table
    assert main([*place, "keys", "revoke", key_id]) == 0
    assert main(["keys", "revoke", key_id, *place]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--json", *place]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["keys"]
    assert shown["revoked"] is not None
    assert "sha256" not in shown


def test_list_without_keys(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no key was ever made the list is empty, and people are told where we looked."""
    assert main(["keys", "list", "--json", "--home", str(home)]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"keys": []}
    assert str(home) in shown.err


def test_revoking_an_unknown_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown id is invalid input, and says so."""
    create_key(home, tenant="acme")
    assert main(["keys", "revoke", "nobody", "--home", str(home)]) == 6
    assert "nobody" in capsys.readouterr().err


def test_a_home_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A --home that is a file is invalid input."""
    (tmp_path / "home").write_text("")
    assert main(["keys", "create", "--tenant", "a", "--home", str(tmp_path / "home")]) == 6
    assert "--home" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"x-api-key": " k "}, "k"),
        ({"authorization": "bearer k"}, "k"),
        ({"x-api-key": "", "authorization": "Bearer k"}, "k"),
        ({"x-api-key": "a", "authorization": "Bearer b"}, "a"),
        ({"authorization": "Basic k"}, None),
        ({"authorization": "Bearer "}, None),
        ({}, None),
    ],
)
def test_where_a_key_stands(headers: dict[str, str], key: str | None) -> None:
    """A key stands in x-api-key, else behind Bearer."""
    assert api_key_of(headers) == key


def test_times_are_utc() -> None:
    """Times in the file are RFC 3339 in UTC."""
    assert utc(0.9) == "1970-01-01T00:00:00Z"


def test_a_key_with_more_behind_it_is_unknown(home: Path) -> None:
    """What only begins with a key is none."""
    _, text = create_key(home, tenant="acme")
    with pytest.raises(Unauthenticated):
        KeyStore(home).authenticate(text + "x")


@pytest.mark.parametrize("name", ["created", "expires", "revoked"])
def test_a_time_that_is_none_is_damage(home: Path, name: str) -> None:
    """A file of keys with a time that cannot be read is our fault, not that of who sends."""
    _, text = create_key(home, tenant="acme")
    content = json.loads((home / FILE_NAME).read_text())
    content["keys"][0][name] = "soon"
    (home / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(KeysUnavailable):
        KeyStore(home).authenticate(text)
