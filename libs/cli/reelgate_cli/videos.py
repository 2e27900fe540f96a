"""Videos by command, over HTTP with an API key, as any other caller makes them."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from reelgate_client import Client, ReelgateError
from reelgate_client import errors as client_errors
from reelgate_client.models import Job, Model
from reelgate_client.models import Progress as Step

AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
Url = Annotated[str | None, typer.Option(envvar="REELGATE_URL", help="Where the gateway is.", show_default=False)]
JobId = Annotated[str, typer.Argument(help="The job's id.")]
Saved = Annotated[Path | None, typer.Option("--save", help="Where the video is saved.", show_default=False)]
Wallet = Annotated[str, typer.Option(help="Whose credits pay.", show_default=False)]

_out = Console(soft_wrap=True)
_log = Console(stderr=True, soft_wrap=True)  # what a script does not read


@contextmanager
def _client(url: str | None) -> Iterator[Client]:
    """The gateway of REELGATE_URL, asked with REELGATE_API_KEY; what it refuses ends the command with a sentence."""
    try:
        with Client(url) as client:
            yield client
    except client_errors.JobFailed as failed:
        raise SystemExit(_why(failed.job)) from None
    except client_errors.AuthenticationError as error:
        raise SystemExit(f"{error.problem.detail} (REELGATE_API_KEY holds the key)") from None
    except client_errors.APIError as error:
        raise SystemExit(error.problem.detail or str(error)) from None
    except ReelgateError as error:
        raise SystemExit(str(error)) from None


def _why(job: Job) -> str:
    credits_left = "its credits were returned" if job.refunded else "its credits will be returned"
    advice = f"\n{job.failure.advice}" if job.failure else ""
    return f"job {job.id} failed, {credits_left}: {job.error_message}{advice}"


def _show(model: Model) -> None:
    typer.echo(model.model_dump_json())


@contextmanager
def _following(*, as_json: bool) -> Iterator[Callable[[Step], None]]:
    """What tells each step: a bar on a terminal, a line each elsewhere, JSON for scripts on standard error."""
    if as_json or not _log.is_terminal:
        yield lambda step: _log.print(step.model_dump_json() if as_json else _line(step), markup=False, highlight=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(pulse_style="cyan"), TimeElapsedColumn())
    with Progress(*columns, console=_log, transient=True) as progress:
        task = progress.add_task("accepted", total=None)
        yield lambda step: progress.update(task, description=_line(step))


def _line(step: Step) -> str:
    reason = f" ({step.reason})" if step.reason else ""
    place = f", place {step.job.queue_position}" if step.job.queue_position else ""
    what = step.status if step.event in {"job", step.status} else f"{step.status}: {step.event}"
    return f"{what}{place}{reason}"


def _wait(client: Client, job_id: str, *, save: Path | None, as_json: bool) -> None:
    with _following(as_json=as_json) as tell:
        job = client.wait(job_id, tell)
    if save is not None:
        client.download(job_id, save)
    if as_json:
        _show(job)
    else:
        _out.print(str(save or job.video_url), markup=False, highlight=False)


def _urls(client: Client, images: list[str]) -> list[str]:
    """A local file is handed over first."""
    return [image if "://" in image else client.upload_image(Path(image)).url for image in images]


def generate(
    prompt: Annotated[str, typer.Argument(help="What the video shows.")],
    *,
    wallet: Wallet,
    image: Annotated[list[str] | None, typer.Option(help="A URL or a file; up to 8. Without: from text alone.")] = None,
    ratio: Annotated[str, typer.Option(help="landscape, portrait or auto.")] = "landscape",
    model: Annotated[str, typer.Option(help="veo3_fast, veo3 or veo3_lite.")] = "veo3_fast",
    resolution: Annotated[str, typer.Option(help="720p, 1080p or 4k.")] = "720p",
    duration: Annotated[int, typer.Option(help="Seconds: 4, 6 or 8.")] = 8,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same again is the same job.", show_default=False)
    ] = None,
    save: Saved = None,
    wait: Annotated[bool, typer.Option(help="Wait for the video.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a video and wait for it; its URL, or the file it was saved to, is the output."""
    with _client(url) as client:
        missing = [one for one in image or [] if "://" not in one and not Path(one).is_file()]
        if missing:
            raise typer.BadParameter(f"--image {missing[0]}: there is no such file")
        how: dict[str, Any] = {"image_urls": _urls(client, image)} if image else {"generation_type": "TEXT_2_VIDEO"}
        if key is not None:
            how["idempotency_key"] = key
        accepted = client.create(
            wallet, prompt, aspect_ratio=ratio, model=model, resolution=resolution, duration=duration, **how
        )
        _log.print(f"job {accepted.job_id}" + (f" waits: {accepted.degraded}" if accepted.degraded else ""))
        if wait:
            _wait(client, accepted.job_id, save=save, as_json=as_json)
        elif as_json:
            _show(accepted)
        else:
            typer.echo(accepted.job_id)


def watch(job_id: JobId, *, save: Saved = None, url: Url = None, as_json: AsJson = False) -> None:
    """Follow a job to its end."""
    with _client(url) as client:
        _wait(client, job_id, save=save, as_json=as_json)


def jobs(
    *,
    wallet: Annotated[str | None, typer.Option(help="Of this wallet.", show_default=False)] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="pending, processing, completed or failed; repeat.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """The newest jobs this key may see."""
    filters: dict[str, Any] = {"wallet_address": wallet, "status": status}
    with _client(url) as client:
        asked = {name: value for name, value in filters.items() if value}
        found = list(islice(client.list(page_size=min(limit, 100), **asked), limit))
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in found]))
        return
    table = Table("job", "status", "wallet", "cost", "created", "what", box=None, pad_edge=False)
    for job in found:
        what = job.error_message if job.status == "failed" else job.prompt
        table.add_row(
            job.id,
            job.status,
            job.wallet_address,
            f"{job.cost}{' returned' if job.refunded else ''}",
            f"{job.created_at:%Y-%m-%d %H:%M}",
            (what or "")[:60],
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table, markup=False, highlight=False)


def cancel(job_id: JobId, *, url: Url = None, as_json: AsJson = False) -> None:
    """Take a job back before it is sent; its credits are returned."""
    with _client(url) as client:
        job = client.cancel(job_id)
    if as_json:
        _show(job)
    elif job.state == "canceled":
        typer.echo("canceled: its credits come back")
    else:
        typer.echo("it is being sent just now: canceled if that turns out not to happen")


def wallet(
    address: Annotated[str, typer.Argument(help="The wallet.")],
    *,
    limit: Annotated[int, typer.Option(min=0, help="At most so many movements.")] = 10,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """What a wallet holds, and its last movements."""
    with _client(url) as client:
        balance = client.balance(address)
        entries = list(islice(client.ledger(address, page_size=max(1, min(limit, 100))), limit))
    if as_json:
        ledger = [entry.model_dump(mode="json") for entry in entries]
        typer.echo(json.dumps({"wallet_address": address, "credits": balance, "ledger": ledger}))
        return
    typer.echo(f"{balance} credits")
    for entry in entries:
        about = entry.description or entry.job_id or ""
        typer.echo(f"{entry.created_at:%Y-%m-%d %H:%M}  {entry.amount:+6}  {entry.transaction_type:<10}  {about}")


def register(app: typer.Typer) -> None:
    """Make these commands of the app."""
    for command in (generate, watch, jobs, cancel, wallet):
        app.command()(command)
