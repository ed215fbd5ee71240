"""API_KEYS is read as documented, refused if it is wrong, and never shown."""

import hashlib
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.access.api_keys import (
    MIN_KEY_CHARACTERS,
    ApiKey,
    ApiKeys,
    BadApiKeys,
    KeyLimits,
    parse_api_keys,
    read_api_keys,
)
from api.settings import ApiSettings
from cli.up.errors import CannotStart
from cli.up.settings import read_settings
from tests.support.documents import find_block

KEY = "k3y-0123456789abcdef"
OTHER = "0ther-0123456789abcdef"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", fullmatch=True)
KEYS = st.from_regex(r"[A-Za-z0-9._~+/-]{16,60}={0,2}", fullmatch=True)
LIMITS = st.builds(
    KeyLimits,
    max_audio_s=st.none() | st.integers(1, 10**9).map(float),
    max_upload_bytes=st.none() | st.integers(1, 10**12),
    max_unfinished_jobs=st.none() | st.integers(1, 10**6),
    max_queued_audio_s=st.none() | st.integers(1, 10**9).map(float),
)


def find(keys: ApiKeys, presented: str) -> ApiKey:
    key = keys.find(presented)
    assert key is not None
    return key


def test_without_a_setting_there_are_no_keys() -> None:
    assert len(read_api_keys("")) == len(read_api_keys("  ")) == 0


def test_keys_are_found_with_their_names_and_limits() -> None:
    keys = read_api_keys(f"lab={KEY} max_audio_s=600.5 max_unfinished_jobs=2, {OTHER} max_upload_bytes=1000")
    assert find(keys, KEY).name == "lab"
    assert find(keys, KEY).limits == KeyLimits(max_audio_s=600.5, max_unfinished_jobs=2)
    assert find(keys, OTHER).name == hashlib.sha256(OTHER.encode()).hexdigest()[:8]
    assert find(keys, OTHER).limits == KeyLimits(max_upload_bytes=1000)


@pytest.mark.parametrize(
    "presented", ["", KEY[:-1], KEY + "x", KEY.upper(), "lab", DIGEST, f"lab={KEY}", "ü"]
)
def test_an_unknown_key_is_not_found(presented: str) -> None:
    assert read_api_keys(f"lab={KEY}").find(presented) is None


@pytest.mark.parametrize("entry", [f"lab=sha256:{DIGEST}", f"lab=sha256:{DIGEST.upper()}"])
def test_a_key_can_be_given_as_its_digest(entry: str) -> None:
    assert find(read_api_keys(entry), KEY).name == "lab"
    assert find(read_api_keys(f"sha256:{DIGEST}"), KEY).name == DIGEST[:8]


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("lab=sh0rtkey", "fewer than 16"),
        (f"lab={KEY}, lab={OTHER}", "entry 1 and entry 2 have the same name"),
        (f"lab={KEY}, shop={KEY}", "entry 1 and entry 2 have the same key"),
        (f"lab={KEY}, shop=sha256:{DIGEST}", "the same key"),
        (f"lab={KEY} max_audio=600", "only limits"),
        (f"lab={KEY} {OTHER}", "only limits"),
        (f"lab={KEY} max_audio_s=1 max_audio_s=2", "each once"),
        (f"lab={KEY} max_audio_s=0", "above 0"),
        (f"lab={KEY} max_audio_s=nan", "above 0"),
        (f"lab={KEY} max_audio_s=-1", "above 0"),
        (f"lab={KEY} max_upload_bytes=1.5", "above 0"),
        (f"lab={KEY} max_upload_bytes=", "above 0"),
        (f"the lab={KEY}", "letters|limits|fewer"),
        (f"l\u00e4b={KEY}", "a name is"),
        (f"={KEY}", "a name is"),
        ("lab=sha256:abc", "64 hexadecimal"),
        (f"lab={KEY};max_audio_s=600", "a key is letters"),
        (f"lab={KEY}\u00fc", "a key is letters"),
        ("transcription-of-the-lab=", "write NAME=KEY"),
        ("config/my-api-keys.txt", "put an @ before it"),
        (",", "contains no key"),
        ("@", "cannot be read"),
        (f"@{KEY}", "cannot be read"),
        (f"/{KEY}", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_refused_without_being_shown(setting: str, why: str) -> None:
    with pytest.raises(BadApiKeys, match=why) as refusal:
        read_api_keys(setting)
    shown = f"{refusal.value!r} {refusal.value}"
    assert not any(secret in shown for secret in (KEY, OTHER, DIGEST, "sh0rtkey"))


def test_a_file_has_one_entry_a_line_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# who\n\nlab={KEY} max_audio_s=60 # ours\n   shop=sha256:{'ab' * 32}\n")
    path.chmod(0o600)
    for setting in (f"@{path}", str(path)):
        keys = read_api_keys(setting)
        assert len(keys) == 2
        assert find(keys, KEY).limits == KeyLimits(max_audio_s=60)


def test_a_file_of_nothing_but_comments_does_not_open_the_server(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# nobody\n")
    with pytest.raises(BadApiKeys, match="contains no key"):
        read_api_keys(f"@{path}")


def test_a_mistake_in_a_file_is_reported_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# one\n\nlab={KEY}, shop={OTHER}\n")
    with pytest.raises(BadApiKeys, match=f"line 3 of {path}"):
        read_api_keys(f"@{path}")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadApiKeys, match="it is not a text file"):
        read_api_keys(f"@{path}")


@pytest.mark.parametrize(("mode", "is_exposed"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_file_that_all_may_read_is_noticed(tmp_path: Path, mode: int, *, is_exposed: bool) -> None:
    path = tmp_path / "keys"
    path.write_text(f"lab={KEY}\n")
    path.chmod(mode)
    assert read_api_keys(str(path)).exposed_file == (path if is_exposed else None)


def test_wrong_keys_stop_the_start_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", f"lab={KEY} {OTHER}")
    with pytest.raises(ValidationError) as refused:
        ApiSettings()
    with pytest.raises(CannotStart) as cannot:
        read_settings()
    assert str(cannot.value).startswith("API_KEYS: ")
    assert "only limits may follow the key" in str(cannot.value)
    assert cannot.value.__cause__ is None
    for text in (str(refused.value), repr(refused.value), str(cannot.value), repr(cannot.value)):
        assert KEY not in text
        assert OTHER not in text


def test_settings_and_keys_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", f"lab={KEY}")
    settings = ApiSettings()
    key = find(read_api_keys(settings.api_keys.get_secret_value()), KEY)
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(key)):
        assert KEY not in shown
        assert DIGEST not in shown


@given(
    st.lists(
        st.tuples(NAMES, KEYS, LIMITS), min_size=1, max_size=5, unique_by=(lambda e: e[0], lambda e: e[1])
    )
)
def test_documented_entries_are_read_back(entries: list[tuple[str, str, KeyLimits]]) -> None:
    setting = ",".join(f" {name}={key} {write(limits)} " for name, key, limits in entries)
    keys = read_api_keys(setting)
    assert len(keys) == len(entries)
    for name, key, limits in entries:
        found = find(keys, key)
        assert (found.name, found.limits) == (name, limits)


def write(limits: KeyLimits) -> str:
    pairs = ((name, getattr(limits, name)) for name in KeyLimits.__slots__)
    return " ".join(f"{name}={value:.0f}" for name, value in pairs if value is not None)


@given(st.text(alphabet=string.ascii_letters + string.digits + "=:;,@#/. \t\n-_ü", max_size=60))
def test_no_other_text_opens_the_server(text: str) -> None:
    refusal = ""
    try:
        keys = ApiKeys(parse_api_keys([("entry 1", text)]))
    except BadApiKeys as refused:
        keys, refusal = ApiKeys(), str(refused)
    assert bool(keys) is not bool(refusal)
    assert keys.find("") is None
    assert not any(word in refusal for word in text.split() if len(word) >= MIN_KEY_CHARACTERS)


def test_the_file_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(find_block("text", "docs/api-keys.md"))
    keys = read_api_keys(f"@{path}")
    assert find(keys, "lab-0123456789abcdef").limits == KeyLimits(max_unfinished_jobs=20)
    assert find(keys, "shop-0123456789abcdef").limits == KeyLimits(600.0, 50_000_000)
