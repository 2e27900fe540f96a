"""The demo: one job that delivers, one that fails and is refunded, as a person would like to see it."""

import os
import secrets
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reelgate_local import background
from reelgate_local.errors import LocalError, tail
from reelgate_local.gateway import Gateway
from reelgate_local.layout import Stack
from reelgate_local.settings import StackFile

_STACK = "demo"  # its own: a stack that is up is not disturbed
_JOB_SECONDS = 40.0
_REFUND_SECONDS = 15.0
_POLL_SECONDS = 0.2
_SERVICES = ("api", "submitter", "callback", "reconciler")

# The demo shows the simulator: it never spends money at a vendor named in the environment.
_VENDOR_SETTINGS = ("KIE_AI_API_ENDPOINT", "KIE_AI_API_KEY", "KIE_WEBHOOK_HMAC_KEY")


def run() -> int:
    """Show the gateway at work; 0 when everything was as promised."""
    console = Console(highlight=False, soft_wrap=True)
    stack = Stack(_STACK)
    env = {name: value for name, value in os.environ.items() if name not in _VENDOR_SETTINGS}
    console.rule("Start: servers, simulator, four services", align="left")
    began = time.monotonic()
    found, was_running = background.up(stack, lambda step: console.print(f"  {step}"), env)
    if was_running:  # it is not ours to stop
        raise LocalError(f"another demo is running: wait for its end, or stop it with `make down STACK={_STACK}`")
    try:
        console.print(f"  up after {time.monotonic() - began:.0f} s at {found.api_url}")
        return _show(console, stack, found)
    finally:
        console.rule("Stop", align="left")
        background.down(stack)
        console.print(f"  everything is stopped; the logs stay in {stack.logs}")


def _show(console: Console, stack: Stack, found: StackFile) -> int:
    gateway = Gateway(found.api_url, found.api_key)
    try:
        _Show(console, gateway, stack.home / "video.mp4").play()
    except LocalError as failure:
        console.print(f"[red]not as promised:[/red] {escape(str(failure))}")
        _show_logs(console, stack)
        return 1
    finally:
        gateway.close()
    console.print("[green]everything as promised[/green]")
    return 0


class _Show:
    """The acts, for one wallet opened for the occasion."""

    def __init__(self, console: Console, gateway: Gateway, video: Path) -> None:
        self._console, self._gateway, self._video = console, gateway, video
        self._wallet = f"demo_wallet_{secrets.token_hex(4)}"

    def play(self) -> None:
        self._deliver()
        self._fail()

    def _deliver(self) -> None:
        self._console.rule("A job", align="left")
        job = self._send("A paper boat sails down a rainy street")
        _expect(job["status"] == "completed", f"the job should be completed, it is {job['status']}")
        self._save(job["video_url"])
        charged = -self._moved(job["id"], "charge")
        _expect(charged > 0, f"a job should cost credits, it cost {charged}")
        self._show_money()

    def _fail(self) -> None:
        self._console.rule("A job the vendor refuses", align="left")
        before = self._gateway.balance(self._wallet)
        job = self._send("sim:policy A scene that its content policy forbids")
        _expect(job["status"] == "failed", f"the job should have failed, it is {job['status']}")
        self._console.print(f"  reason: {escape(str(job['error_message']))}")
        self._await_refund(job["id"])
        after = self._gateway.balance(self._wallet)
        _expect(after == before, f"the balance should be {before} again, it is {after}")
        self._show_money()

    def _send(self, prompt: str) -> dict[str, Any]:
        """Send a job and show what becomes of it, as it does."""
        job_id = self._gateway.generate(self._wallet, prompt)
        self._console.print(f"  “{prompt}”\n  accepted as {job_id}")
        status, job = None, {}
        for glimpse in self._gateway.watch(job_id, seconds=_JOB_SECONDS):
            job = glimpse.job
            for event in glimpse.news:
                self._console.print(_line(glimpse.seconds, event))
            if job["status"] != status:
                status = job["status"]
                self._console.print(f"  {glimpse.seconds:5.1f} s  the caller sees [bold]{status}[/bold]")
        return job

    def _save(self, url: str) -> None:
        content = self._gateway.download(url)
        _expect(content[4:8] == b"ftyp", f"{url} is no MP4 ({len(content)} bytes)")
        self._video.parent.mkdir(parents=True, exist_ok=True)
        self._video.write_bytes(content)
        self._console.print(f"  video ({len(content):,} bytes) saved as {self._video}")

    def _await_refund(self, job_id: str) -> None:
        charged = -self._moved(job_id, "charge")
        deadline = time.monotonic() + _REFUND_SECONDS
        while time.monotonic() < deadline:
            if (refunded := self._moved(job_id, "refund")) == charged:
                self._console.print(f"  refunded: {refunded} credits")
                return
            time.sleep(_POLL_SECONDS)
        raise LocalError(f"no refund of {charged} credits within {_REFUND_SECONDS:.0f} s")

    def _moved(self, job_id: str, kind: str) -> int:
        entries = self._gateway.ledger(self._wallet)
        return sum(
            entry["amount"] for entry in entries if entry["job_id"] == job_id and entry["transaction_type"] == kind
        )

    def _show_money(self) -> None:
        entries = sorted(self._gateway.ledger(self._wallet), key=lambda entry: str(entry["created_at"]))
        table = Table("movement", "credits", "job", box=None, pad_edge=False, padding=(0, 2))
        table.columns[1].justify = "right"
        for entry in entries:
            table.add_row(entry["transaction_type"], f"{entry['amount']:+}", entry["job_id"] or "")
        balance = self._gateway.balance(self._wallet)
        table.add_row("balance", str(balance), "", style="bold")
        self._console.print(table)
        _expect(balance == sum(entry["amount"] for entry in entries), "the balance is not the ledger's sum")


def _line(seconds: float, event: dict[str, Any]) -> str:
    reason = f"  ({escape(str(event['reason']))})" if event.get("reason") else ""
    return f"  {seconds:5.1f} s  {event.get('service') or '':<11} {event['event']}{reason}"


def _expect(promise: bool, otherwise: str) -> None:
    if not promise:
        raise LocalError(otherwise)


def _show_logs(console: Console, stack: Stack) -> None:
    for service in _SERVICES:
        log = stack.log(service)
        console.print(f"--- the end of {log}\n{escape(tail(log))}", soft_wrap=True)
