"""What the documents have people type works as it is printed."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0500f000481017f4f2b1e1d0000000049454e44ae426082"
)

# Next.js calls the route with a Request and sends the Response on; this does the same with node's own server.
SERVE = """
import { createServer } from "node:http";
import { GET, POST } from "./route.js";

const server = createServer(async (asked, answer) => {
  const chunks = [];
  for await (const chunk of asked) chunks.push(chunk);
  const body = asked.method === "POST" ? Buffer.concat(chunks) : undefined;
  const request = new Request(`http://app${asked.url}`, { method: asked.method, headers: asked.headers, body });
  const response = await { GET, POST }[asked.method](request);
  answer.writeHead(response.status, Object.fromEntries(response.headers));
  answer.end(Buffer.from(await response.arrayBuffer()));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.fixture(scope="module")
def stack(run_stack):
    with run_stack("documents", KIE_SENDS_PER_WINDOW="1000") as stack:
        yield stack


def blocks(document, language):
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        re.sub(r"^   ", "", code, flags=re.MULTILINE)
        for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    ]


@pytest.fixture
def shell(stack, tmp_path):
    """Run a block with what `. .local/stack.env` sets; each command's answer."""
    (tmp_path / "cat.png").write_bytes(PNG)

    def run(block, **variables):
        # `curl -s` prints one JSON after the other without a line between them.
        script = block.replace("curl -s", "curl -s -w '\\n'")
        done = subprocess.run(
            ["bash", "-euc", script],
            env=os.environ | stack.env | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line]

    return run


async def finished(stack, job_id):
    async with stack.client() as client:
        while True:
            answer = await client.get(f"/api/video/jobs/{job_id}", params={"wait": 30})
            if answer.json()["job"]["status"] in {"completed", "failed"}:
                return


async def test_the_quick_starts_requests_answer_as_it_says(stack, shell):
    first, *others = [block for block in blocks("docs/quick-start.md", "sh") if "curl" in block]
    [accepted] = shell(first.replace("make up\n", "").replace(". .local/stack.env\n", ""))
    await finished(stack, accepted["job_id"])

    answers = [answer for block in others for answer in shell(block, JOB_ID=accepted["job_id"])]

    assert len(answers) >= 7
    assert [answer for answer in answers if "error" in answer] == []
    assert answers[0]["job"]["video_url"]


def test_the_readmes_commands_make_a_video_and_tell_of_a_failure(stack, tmp_path):
    [block] = [block for block in blocks("README.md", "sh") if "reelgate generate" in block]
    commands = block.split("; ", 1)[1].replace(".venv/bin/reelgate", f"{sys.executable} -m reelgate_cli")
    done = subprocess.run(
        ["bash", "-c", commands], env=os.environ | stack.env, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (tmp_path / "hello.mp4").stat().st_size > 0
    assert done.returncode == 1
    assert "its credits were returned" in done.stderr


def test_the_readmes_python_makes_a_video(stack, tmp_path):
    [code] = blocks("README.md", "python")
    settings = {"REELGATE_URL": stack.env["API_URL"], "REELGATE_API_KEY": stack.env["API_KEY"]}
    run = [sys.executable, "-c"]
    made, failed = [
        subprocess.run(
            [*run, text], env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for text in (code, code.replace("waving hello", "sim:policy"))
    ]

    assert made.startswith("http")
    assert " True " in failed


def test_the_readmes_request_is_the_quick_starts_first():
    [request] = [block for block in blocks("README.md", "sh") if "curl" in block]

    assert request == blocks("docs/quick-start.md", "sh")[0]


async def test_a_receipt_is_asked_for_as_the_page_about_refunds_says(stack, shell, eventually):
    async with stack.client() as client:
        job_id = await stack.create(client, f"{uuid.uuid4().hex} sim:policy", "refunded")
    await finished(stack, job_id)
    [block] = blocks("docs/refunds.md", "sh")

    async def settled():
        [receipt] = shell(block, JOB_ID=job_id)
        return receipt if receipt["refunded"] else None

    receipt = await eventually(settled)

    assert (receipt["charged"], receipt["refunded"], receipt["net"]) == (4, 4, 0)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
async def test_the_one_route_that_takes_the_place_of_the_guides_passes_everything_on(stack, tmp_path):
    [route] = blocks("docs/from-the-guide.md", "js")
    (tmp_path / "route.js").write_text(route)
    (tmp_path / "serve.js").write_text(SERVE)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    settings = {"REELGATE_URL": stack.env["API_URL"], "REELGATE_API_KEY": stack.env["API_KEY"]}
    node = await asyncio.create_subprocess_exec(
        "node", "serve.js", cwd=tmp_path, env=os.environ | settings, stdout=asyncio.subprocess.PIPE
    )
    try:
        port = int(await node.stdout.readline())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as page:
            body = {"wallet_address": "moved", "prompt": "A cat", "image_urls": ["https://example.com/i.png"]}
            key = {"Idempotency-Key": uuid.uuid4().hex}
            made, again = [await page.post("/api/video/generate", json=body, headers=key) for _ in range(2)]
            await finished(stack, made.json()["job_id"])
            path = f"/api/video/jobs/{made.json()['job_id']}"
            job = await page.get(path)
            unchanged = await page.get(path, headers={"If-None-Match": job.headers["etag"]})
            refused = await page.post("/api/video/generate", json={})
    finally:
        node.terminate()
        await node.wait()

    assert (made.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert made.json() == again.json()
    assert job.json()["job"]["video_url"]
    assert unchanged.status_code == 304
    assert (refused.status_code, refused.json()["error"]) == (400, "wallet_address required")
