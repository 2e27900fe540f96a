"""`python -m reelgate_local up | down | demo | test -- COMMAND`: the local stack from the command line."""

import argparse
import os
import signal
import sys
from pathlib import Path

from reelgate_local import background, demo, trial
from reelgate_local.errors import LocalError, StartError, tail
from reelgate_local.layout import CHECKOUT, DEFAULT, Stack, all_stacks
from reelgate_local.settings import StackFile


def main() -> int:
    """Do what the command line says; the exit code."""
    arguments = _parser().parse_args()
    if arguments.command == "supervise":
        return background.run_supervisor(Stack(arguments.stack, arguments.root), arguments.report_to)
    # Ending in order, also when told to: what was started is then stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _run(arguments)
    except LocalError as failure:
        print(f"error: {failure}", file=sys.stderr)
        if isinstance(failure, StartError) and failure.log:
            print(f"--- the end of {failure.log}\n{tail(failure.log)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            return _up()
        case "down":
            return _down(everything=arguments.all)
        case "demo":
            return demo.run()
        case _:
            return trial.run(arguments.words, _say)


def _up() -> int:
    stack = _stack()
    found, was_running = background.up(stack, _say)
    print("already running" if was_running else "up", _urls(found), sep="\n")
    print(f"  all of it    {stack.env_file}")
    return 0


def _down(*, everything: bool) -> int:
    stacks = all_stacks() if everything else [_stack()]
    stopped = [stack.name for stack in stacks if background.down(stack)]
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _stack() -> Stack:
    return Stack(os.environ.get("STACK") or DEFAULT)


def _say(text: str) -> None:
    print(text, flush=True)


def _urls(found: StackFile) -> str:
    lines = {
        "api": found.api_url,
        "console": f"{found.api_url}/console",
        "callback": found.callback_url,
        "simulator": found.simulator_url,
        "database": found.database_url,
        "broker": found.amqp_url,
    }
    return "\n".join(f"  {name:<12} {url}" for name, url in lines.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reelgate_local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="up | down | demo | test")
    commands.add_parser("up", help="start the stack in the background (STACK=<name> for another one)")
    down = commands.add_parser("down", help="stop it")
    down.add_argument("--all", action="store_true", help="stop every stack of this checkout")
    commands.add_parser("demo", help="send a job, watch it, save the video; then a failing one")
    test = commands.add_parser("test", help="run a command with servers of its own")
    test.add_argument("words", nargs="+", metavar="COMMAND")
    supervise = commands.add_parser("supervise")  # what `up` leaves in the background
    supervise.add_argument("--stack", required=True)
    supervise.add_argument("--root", type=Path, default=CHECKOUT)
    supervise.add_argument("--report-to", type=int, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
