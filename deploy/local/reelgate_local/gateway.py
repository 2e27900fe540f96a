"""The gateway as its callers see it: the few REST calls the demo makes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from reelgate_local.errors import LocalError

_POLL_SECONDS = 0.2
FINAL = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What one poll found: the job, and the timeline entries not seen before."""

    seconds: float  # since the job was accepted
    job: dict[str, Any]
    news: list[dict[str, Any]]


class Gateway:
    """A caller with an API key."""

    def __init__(self, url: str, key: str) -> None:
        """Talk to the gateway at `url`."""
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10.0, trust_env=False
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def generate(self, wallet: str, prompt: str) -> str:
        """Send a job; its id."""
        body = {
            "wallet_address": wallet,
            "prompt": prompt,
            "image_urls": ["https://example.com/image.png"],
            "aspect_ratio": "landscape",
        }
        return str(self._answer("POST", "/api/video/generate", json=body)["job_id"])

    def watch(self, job_id: str, *, seconds: float) -> Iterator[Glimpse]:
        """Poll until the job is final; raise when that takes too long."""
        began, seen = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < seconds:
            job = self._answer("GET", f"/api/video/jobs/{job_id}")["job"]
            events = self._answer("GET", f"/api/video/jobs/{job_id}/timeline")["events"]
            yield Glimpse(elapsed, job, events[seen:])
            seen = len(events)
            if job["status"] in FINAL:
                return
            time.sleep(_POLL_SECONDS)
        raise LocalError(f"job {job_id} was not final after {seconds:.0f} s")

    def balance(self, wallet: str) -> int:
        """The wallet's credits."""
        return int(self._answer("GET", f"/api/wallets/{wallet}")["credits"])

    def ledger(self, wallet: str) -> list[dict[str, Any]]:
        """Every movement of the wallet's credits."""
        return list(self._answer("GET", f"/api/wallets/{wallet}/ledger")["entries"])

    def download(self, url: str) -> bytes:
        """The bytes of a finished video."""
        # By its own client: our key is no business of the video's host.
        answer = httpx.get(url, follow_redirects=True, timeout=30.0, trust_env=False)
        if not answer.is_success:
            raise LocalError(f"the video at {url} answers {answer.status_code}")
        return answer.content

    def _answer(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx.HTTPError as failure:
            raise LocalError(f"{method} {path}: {failure!r}") from failure
        if not answer.is_success:
            raise LocalError(f"{method} {path} answers {answer.status_code}: {answer.text}")
        return dict(answer.json())
