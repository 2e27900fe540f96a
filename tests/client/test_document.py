"""The examples of docs/python-client.md do what they say."""

import asyncio
import base64
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from standardwebhooks import Webhook

import reelgate_client
from reelgate_client import ReelgateError

DOCUMENT = (Path(__file__).parents[2] / "docs" / "python-client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()


async def test_the_examples_run_one_after_the_other(stack, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cat.png")
    body, at = '{"type":"job.completed","timestamp":"2026-01-01T00:00:00+00:00","data":{}}', datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(msg_id="msg_1", timestamp=at, data=body),
    }
    checks = f"""
print([video.prompt for video in videos])
print(receive({body!r}.encode(), {headers!r}), receive(b"forged", {headers!r}))
"""
    settings = {
        "REELGATE_URL": stack.env["API_URL"],
        "REELGATE_API_KEY": stack.env["API_KEY"],
        "REELGATE_WEBHOOK_SECRET": SECRET,
    }

    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "\n".join([*EXAMPLES, checks])),
        cwd=tmp_path,
        env=os.environ | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = (text.decode() for text in await program.communicate())

    assert (program.returncode, errors) == (0, "")
    said = out.splitlines()
    assert "completed completed" in said
    assert any(line.startswith("still ") for line in said)
    assert "refunded: True try again: False" in said
    assert said[-3:] == ["['A red kite', 'A blue kite']", "msg_1 job.completed ", "204 400"]
    assert (tmp_path / "hello.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_document_names_every_error_and_every_method():
    errors = {
        name
        for name in reelgate_client.__all__
        if isinstance(kind := getattr(reelgate_client, name), type) and issubclass(kind, ReelgateError)
    }
    methods = {name for name in vars(reelgate_client.Client) if not name.startswith("_")} - {"close"}

    assert {name for name in errors | methods if f"`{name}`" not in DOCUMENT} == set()


def test_both_clients_have_the_same_methods():
    plain, with_async = (
        {name for name in vars(kind) if not name.startswith("_")}
        for kind in (reelgate_client.Client, reelgate_client.AsyncClient)
    )

    assert plain == with_async
