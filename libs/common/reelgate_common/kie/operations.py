"""Which call of Kie.ai starts a job, and which tells how it stands: by the job's operation."""

from typing import Protocol

from reelgate_common.domain.job import Job, Operation, SendOutcome
from reelgate_common.kie.answers import Failed, Generating, NotYet, Send, Succeeded, TaskInfo
from reelgate_common.kie.requests import Extension
from reelgate_common.kie.upgrades import Upgrade


class Questions(Protocol):
    """The calls that tell how a job stands."""

    async def record_info(self, task_id: str) -> TaskInfo:
        """How a task stands."""
        ...

    async def upgrade_1080p(self, task_id: str) -> Upgrade:
        """How the 1080p copy stands."""
        ...

    async def upgrade_4k(self, task_id: str) -> Upgrade:
        """How the 4K copy stands."""
        ...


class Sends(Protocol):
    """The calls that start a job."""

    async def generate(self, job: Job, *, callback_url: str, send_before: float) -> Send:
        """A new video."""
        ...

    async def extend(self, extension: Extension, *, callback_url: str, send_before: float) -> Send:
        """A longer clip."""
        ...

    async def upgrade_1080p(self, task_id: str, *, send_before: float) -> Upgrade:
        """A 1080p copy."""
        ...

    async def upgrade_4k(self, task_id: str, *, callback_url: str, send_before: float) -> Upgrade:
        """A 4K copy."""
        ...


async def send(vendor: Sends, job: Job, *, callback_url: str, send_before: float) -> Send:
    """Start a job, once; every way the call can end is an outcome, none an exception."""
    source = job.source_task_id or ""
    match job.operation:
        case Operation.EXTEND:
            extension = Extension(
                task_id=source, prompt=job.prompt, model=job.model, seeds=job.seeds, watermark=job.watermark
            )
            return await vendor.extend(extension, callback_url=callback_url, send_before=send_before)
        case Operation.UPGRADE_1080P:  # it takes no callback URL
            return _started(await vendor.upgrade_1080p(source, send_before=send_before), source)
        case Operation.UPGRADE_4K:
            said = await vendor.upgrade_4k(source, callback_url=callback_url, send_before=send_before)
            return _started(said, source)
        case _:
            return await vendor.generate(job, callback_url=callback_url, send_before=send_before)


def _started(said: Upgrade, source: str) -> Send:
    """An upgrade is asked about by its source's task: whether 4K work has an id of its own is not documented."""
    task_id = source if said.outcome is SendOutcome.ACCEPTED else None
    return Send(outcome=said.outcome, code=said.code, message=said.message, task_id=task_id)


async def ask(vendor: Questions, operation: Operation, task_id: str) -> TaskInfo:
    """How a job stands. An upgrade is asked about by the call that starts it: the vendor bills the first only."""
    if operation is Operation.UPGRADE_1080P:
        return _stands(await vendor.upgrade_1080p(task_id))
    if operation is Operation.UPGRADE_4K:
        return _stands(await vendor.upgrade_4k(task_id))
    return await vendor.record_info(task_id)


def _stands(said: Upgrade) -> TaskInfo:
    if said.outcome is SendOutcome.ACCEPTED:
        if said.video_url is None:
            return Generating(prompt=None, callback_url=None)
        return Succeeded(video_url=said.video_url, prompt=None, callback_url=None)
    if said.outcome is SendOutcome.REFUSED:
        return Failed(code=said.code, message=said.message or "Upgrade failed", prompt=None, callback_url=None)
    return NotYet(why=f"code {said.code}: {said.message}")
