"""Rules that a reader would check by eye, on every file of ours: what is secret, what is compared, what is executed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What a real secret looks like. Fakes in tests and documents say so by their shape: zeros, x's, words.
_SECRETS = {
    "a key of ours": r"rg_(?:live|test)_[0-9a-f]{64}",
    "a session of ours": r"rgs_[0-9a-f]{64}",
    "a webhook secret": r"whsec_[A-Za-z0-9+/]{32,}={0,2}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{60,}",
    "a key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Google": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a token of GitHub": r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
    "a token of Slack": r"\bxox[baprs]-[0-9A-Za-z-]{20,}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
    "a password in a URL": r"\b(?:postgres(?:ql)?|amqps?|https?)://[^\s:/@\"'{}$<>*]+:(?!\w{0,12}@)[^\s@\"'{}$<>*]{13,}@",
}


def _files():
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", ".local", "node_modules", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not skipped & set(path.parts)]


FILES = _files()
SOURCES = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("services", "libs")]


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def _is_fake(found):
    """Made of a few different characters, or one of the values that documents repeat."""
    return len(set(found[-24:].lower())) < 8 or re.search(
        r"0123456789|abcdef|example|MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|C2FVsBQIhrscChlQIMV", found
    )


def _secrets(text):
    return [
        (what, found[0])
        for what, pattern in _SECRETS.items()
        for found in re.finditer(pattern, text)
        if not _is_fake(found[0])
    ]


def test_no_file_holds_a_secret():
    assert len(FILES) > 300

    found = {str(path.relative_to(ROOT)): hits for path in FILES if (hits := _secrets(_text(path)))}

    assert not found


@pytest.mark.parametrize(
    "planted",
    [
        "rg_live_" + "56fbe14036726dc201460940f91ea7da6e7e297d1e25ffa1e33490e5f99f4002",
        "whsec_" + "q8ZtT5vK1nRy7LwXo3EfBh9GjUa2MsDcPkVi6NxO4Hm=",
        "AKIA" + "Q7X2M9P4L1ZK8WVT",
        "postgresql://reelgate:" + "c5uJ8kq2Lw9zTb4N@db.internal/reelgate",
        "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    ],
)
def test_a_secret_that_slipped_in_would_be_found(planted):
    assert _secrets(f"TOKEN = '{planted}'")


def test_secrets_are_compared_in_constant_time():
    """What is looked up is looked up by its hash; what is compared is compared by `compare_digest`."""
    suspicious = re.compile(r"(?:secret|token|signature|password|digest|hmac)\w*(?:\.get_secret_value\(\))?\s*[!=]=\s")
    allowed = re.compile(r"token_ok|token_type|is None|== \"\"")

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in _text(path).splitlines()
        if suspicious.search(line.lower()) and not allowed.search(line) and not line.lstrip().startswith(("#", '"'))
    ]

    assert not [line for line in found if "reelgate_simulator" not in line]


def test_nothing_is_executed_that_comes_from_elsewhere():
    forbidden = re.compile(
        r"\b(?:eval|exec|pickle\.loads?|marshal\.loads?|yaml\.load|os\.system)\(|shell=True|verify=False"
    )

    assert not [f"{path}: {line}" for path in SOURCES for line in _text(path).splitlines() if forbidden.search(line)]


def test_the_console_never_writes_html():
    pages = [path for path in FILES if path.suffix == ".js" and "reelgate_api" in path.parts]
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")

    assert pages
    assert not [f"{path}: {line}" for path in pages for line in _text(path).splitlines() if forbidden.search(line)]


def test_locks_pin_by_hash_and_name_no_place():
    for name in ("requirements.lock", "requirements-runtime.lock"):
        text = _text(ROOT / name)
        pinned = re.findall(r"^[a-z0-9][a-z0-9._-]*==", text, re.MULTILINE)
        assert len(pinned) > 20
        assert text.count("--hash=sha256:") >= len(pinned)
        assert not re.search(r"https?://|--(?:extra-)?index-url|--find-links", text)
    for lock in (path for path in FILES if path.name == "package-lock.json"):
        assert "resolved" not in _text(lock)
        assert '"integrity"' in _text(lock)
