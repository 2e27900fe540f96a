"""The project's own one-shot commands that a new stack needs: the schema, and two keys."""

import asyncio
import json
import secrets
import sys
from pathlib import Path

from reelgate_local.errors import StartError


async def migrate(env: dict[str, str], cwd: Path, log: Path) -> None:
    """Bring schema and broker topology up to date."""
    await _run("migrate", env=env, cwd=cwd, log=log)


async def create_key(env: dict[str, str], cwd: Path, log: Path, *, admin: bool = False) -> str:
    """A new API key for all wallets, or one that may also administer."""
    kind = "admin" if admin else "user"
    # A database named by the caller outlives the stack: names must not collide with earlier ones.
    name = f"local-{kind}-{secrets.token_hex(4)}"
    flags = ["--admin"] if admin else []
    answer = await _run("keys", "create", name, *flags, "--json", env=env, cwd=cwd, log=log)
    return str(json.loads(answer)["key"])


async def _run(*arguments: str, env: dict[str, str], cwd: Path, log: Path) -> bytes:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reelgate_cli", *arguments),
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        answer, _ = await process.communicate()
        if process.returncode != 0:
            errors.write(answer)
            raise StartError(f"`reelgate {arguments[0]}`", f"ended with exit code {process.returncode}", log)
    return answer
