"""The store holds an upload complete, or not at all."""

import hashlib
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.upload_store import UploadStore


@pytest.fixture
def store(tmp_path: Path) -> UploadStore:
    """Return an empty store."""
    uploads = UploadStore(tmp_path / "uploads")
    uploads.prepare()
    return uploads


def names_in(store: UploadStore) -> list[str]:
    return sorted(path.name for path in store.path_of("x").parent.iterdir())


def test_a_committed_upload_is_stored_with_its_digest(store: UploadStore) -> None:
    writer = store.begin("a")
    writer.write(b"one ")
    writer.write(b"two")
    writer.commit()
    assert store.path_of("a").read_bytes() == b"one two"
    assert writer.sha256 == hashlib.sha256(b"one two").hexdigest()
    assert writer.size_bytes == 7


def test_an_upload_is_invisible_until_it_is_committed(store: UploadStore) -> None:
    writer = store.begin("a")
    writer.write(b"half")
    assert not store.path_of("a").exists()
    writer.abort()
    assert names_in(store) == []


def test_an_abort_after_the_commit_does_nothing(store: UploadStore) -> None:
    writer = store.begin("a")
    writer.write(b"whole")
    writer.commit()
    writer.abort()
    assert names_in(store) == ["a"]


def test_only_their_owner_can_read_uploads(store: UploadStore) -> None:
    writer = store.begin("a")
    writer.write(b"secret")
    writer.commit()
    assert stat.S_IMODE(store.path_of("a").stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path_of("a").parent.stat().st_mode) == 0o700


def test_an_upload_is_deleted_with_its_samples(store: UploadStore) -> None:
    for name in ("a", "b"):
        store.path_of(name).write_bytes(b"x")
        store.path_of_samples(name).write_bytes(b"x")
    store.delete("a")
    assert names_in(store) == ["b", "b.pcm"]
    store.delete_samples("b")
    assert names_in(store) == ["b"]


def test_samples_without_their_upload_are_listed_by_its_name(store: UploadStore) -> None:
    store.path_of_samples("a").write_bytes(b"x")
    assert store.list_older_than(0) == {"a"}


def test_deleting_a_missing_upload_is_not_an_error(store: UploadStore) -> None:
    store.delete("never")


def test_old_uploads_and_old_unfinished_ones_are_listed_apart(store: UploadStore) -> None:
    for name in ("old", "new"):
        writer = store.begin(name)
        writer.write(b"x")
        writer.commit()
    unfinished = store.begin("unfinished")
    unfinished.write(b"x")
    two_hours_ago = time.time() - 7200
    for name in ("old", "unfinished.part"):
        os.utime(store.path_of(name), (two_hours_ago, two_hours_ago))
    assert store.list_older_than(3600) == {"old"}
    assert store.list_unfinished(7300) == set()
    assert store.list_unfinished(3600) == {"unfinished.part"}
    unfinished.abort()


def test_a_folder_among_the_uploads_is_not_listed(store: UploadStore) -> None:
    for name in ("lost+found", "lost.part"):
        store.path_of(name).mkdir()
    assert store.list_older_than(0) == store.list_unfinished(0) == set()


def test_a_concurrent_deletion_does_no_harm(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.path_of("x").parent
    (folder / "there").write_bytes(b"x")
    monkeypatch.setattr(Path, "iterdir", lambda _: iter((folder / "gone", folder / "there")))
    assert store.list_older_than(0) == {"there"}


def test_a_full_disk_is_reported_and_nothing_stays(store: UploadStore) -> None:
    program = (
        "import sys, pathlib\n"
        "from shared.errors import StorageFull\n"
        "from shared.upload_store import UploadStore\n"
        "writer = UploadStore(pathlib.Path(sys.argv[1])).begin('a')\n"
        "try:\n"
        "    writer.write(bytes(100_000))\n"
        "except StorageFull:\n"
        "    writer.abort()\n"
        "    print('full')\n"
    )
    limit_bytes = 50_000
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path_of("x").parent)],
        preexec_fn=lambda: limit_file_size(limit_bytes),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "full\n"
    assert names_in(store) == []


def limit_file_size(limit_bytes: int) -> None:
    """Limit the size of files, as if the disk were full. Python ignores the signal that comes with it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
