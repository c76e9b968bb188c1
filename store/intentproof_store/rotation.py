"""Rotating the key that signs: the log itself names the new key, and the old one vouches for it.

Steps, and what a crash after each leaves behind:

1. the next key is put beside the old one           the next start goes on here
2. the store is opened: whatever is signed from     as above
   here on is signed with both keys
3. each log gets a `key-rotation` leaf              told once; as above
4. everything is sealed, with a checkpoint over     nothing is signed twice: the size has its
   the leaf by both keys, which is checked          checkpoint, with the same root and both keys
5. the new vkeys are trusted                        as above
6. the next key takes the old one's place           done

The old key is overwritten in its file as it goes, as far as a file system lets anyone do that.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from .checkpoints import checkpoint_sizes
from .durable import create_file, replace_secret
from .errors import HomeInvalid, NoteInvalid, StoreError
from .identity import NEXT_KEY, Identity, new_key_pem, trust
from .layout import Layout
from .note import open_note
from .tenantlog import Appended, TenantLog

Tell = Callable[[str, str, dict[str, Any]], "Future[Appended]"]


def begin_rotation(home: Path) -> None:
    """Make the next key (1). Whoever opens the store next carries the rotation out."""
    if not (home / "signing.key").is_file():
        raise HomeInvalid(f"no receiver has written with the home {str(home)!r}: give --home")
    create_file(home / NEXT_KEY, new_key_pem(), mode=0o600)


def is_rotating(home: Path) -> bool:
    """Whether a rotation was begun and is not done."""
    return (home / NEXT_KEY).exists()


def tell_rotation(identity: Identity, logs: Mapping[str, TenantLog], tell: Tell) -> None:
    """Have every log name the next key (3), once. Blocks on the disk; raises StoreError."""
    futures = []
    for tenant, log in dict(logs).items():
        following = identity.next_verifier_key(tenant)
        if following is not None and log.roster.rotated_to != following.vkey():
            detail = {"new_key": following.vkey(), "old_key": identity.verifier_key(tenant).vkey()}
            futures.append(tell(tenant, "key-rotation", detail))
    for future in futures:
        future.result()


def finish_rotation(layout: Layout, identity: Identity) -> None:
    """Change the keys (5, 6), if every log has its checkpoint by both. Raises StoreError."""
    tenants = [each for each in layout.tenants() if identity.writer in layout.writers(each)]
    for tenant in tenants:
        _check_vouched(layout, identity, tenant)
    for tenant in tenants:
        following = identity.next_verifier_key(tenant)
        if following is not None:
            trust(identity.home, following)
    replace_secret(identity.home / NEXT_KEY, identity.home / "signing.key")


def _check_vouched(layout: Layout, identity: Identity, tenant: str) -> None:
    """The newest checkpoint, over everything, is by the old key and by the next."""
    folder = layout.log(tenant, identity.writer)
    path = folder / f"checkpoint.{max(checkpoint_sizes(folder), default=0)}"
    keys = {identity.verifier_key(tenant), identity.next_verifier_key(tenant)}
    try:
        _, signers = open_note(path.read_bytes(), [key for key in keys if key is not None])
    except (OSError, NoteInvalid) as error:
        raise StoreError(f"the key is not rotated yet: {path}: {error}") from error
    if set(signers) != keys:
        raise StoreError(f"the key is not rotated yet: {path} is not signed by both keys")
