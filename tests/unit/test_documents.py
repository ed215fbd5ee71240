"""The documents agree with the code: settings, endpoints, error codes, log events, lengths."""

import re

import pytest

from api.app import create_app
from api.errors.answers import UNFORESEEN, list_answers
from api.errors.tree import JobFailed
from api.settings import ApiSettings
from shared.errors import ServerError
from tests.support.documents import REPOSITORY, list_guides, read_document
from tests.support.settings_table import GROUPS, PAGE, find_settings, render_default, render_page

PACKAGES = ("api", "cli", "shared", "worker")
MAX_LINES = {"README.md": 200, "ARCHITECTURE.md": 170}

SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")

PATH = re.compile(r"`((?:api|cli|docs|requirements|scripts|shared|tests|worker)/[\w./-]*)`")

# Variables of other programs, of `make test` and of `make chaos`; and names in capitals that are no variable.
FOREIGN = {
    *("CUDA_VISIBLE_DEVICES", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_OFFLINE"),
    *("DISK_FULL_BY", "EVENTS_PER_S", "SPEECH_DIR"),
    *("MAX_", "MIN_", "RLIMIT_FSIZE"),
}


def read_table(text: str, head: str) -> list[list[str]]:
    """Return the cells of the rows below the line `head`."""
    lines = text.partition(f"{head}\n")[2].splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def test_every_setting_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(find_settings())


def test_the_settings_page_is_made_from_the_settings_classes() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "run `python -m tests.support.settings_table`"


def test_the_settings_in_readme_have_their_defaults() -> None:
    settings = find_settings()
    rows = read_table(read_document("README.md"), "| setting | default | meaning |")
    assert len(rows) == 10
    for name, default in ((name.strip("`"), default) for name, default, _ in rows):
        assert default == render_default(name, settings[name]).removesuffix(" s")


@pytest.mark.parametrize("name", [name for name in list_guides() if "benchmarks" not in name])
def test_the_settings_that_a_document_names_exist(name: str) -> None:
    assert set(SETTING.findall(read_document(name))) <= {*find_settings(), *FOREIGN}


def test_readme_lists_the_endpoints_that_exist() -> None:
    rows = read_table(read_document("README.md"), "| endpoint | purpose |")
    named = {name.replace("{id}", "{}") for name in re.findall(r"`([A-Z]+ /[^`]+)`", str(rows))}
    described = {
        f"{method.upper()} {re.sub(r'{[^}]+}', '{}', path)}"
        for path, operations in create_app(ApiSettings()).openapi()["paths"].items()
        for method in operations
    }
    assert named - {"GET /docs", "GET /openapi.json"} == described


def test_operating_names_log_events_that_exist_and_all_serious_ones(sources: str) -> None:
    rows = read_table(read_document("docs/operating.md"), "| event | meaning |")
    named = {event for event, _ in rows for event in re.findall(r"`(\w+)`", event)}
    assert named
    assert {event for event in named if f'"{event}"' not in sources} == set()
    serious = set(re.findall(r'_logger\.(?:warning|error|critical|exception)\(\s*"(\w+)"', sources))
    assert serious - named == set()


def test_the_error_codes_that_documents_name_exist(sources: str) -> None:
    texts = "".join(map(read_document, list_guides()))
    named = set(re.findall(r"\b[45]\d\d `([a-z_]+)`", texts))
    assert named
    assert {code for code in named if f'"{code}"' not in sources} == set()


def list_errors(kind: type[ServerError] = ServerError) -> list[type[ServerError]]:
    """Return the classes of the error tree below and with `kind`, but for that of failed jobs."""
    below = [error for child in kind.__subclasses__() for error in list_errors(child)]
    return [] if kind is JobFailed else [kind, *below]


def test_the_page_of_errors_lists_every_answer() -> None:
    page = read_document("docs/errors.md")
    listed = {
        (int(status), code)
        for table in page.split("## ")[1:]
        for status, codes, _ in read_table(table, "| status | `code` | meaning |")
        for code in re.findall(r"`(\w+)`", codes) or [None]
    }
    answers = [UNFORESEEN, *(answer for kind in list_errors() for answer in list_answers(kind))]
    assert listed == {
        (answer.status, answer.code) for answer in answers if answer.status != 500 or answer.code
    }


@pytest.fixture(scope="module")
def sources() -> str:
    """The source text of all packages."""
    paths = (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
    return "".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize("name", [*list_guides(), "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_document_names_exist(name: str) -> None:
    named = PATH.findall(read_document(name))
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", MAX_LINES)
def test_the_front_documents_stay_short(name: str) -> None:
    assert len(read_document(name).splitlines()) <= MAX_LINES[name]
