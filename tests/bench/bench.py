"""Benchmarks of the main job on one machine: `make bench`, or `make bench PART=accept` for one part.

Each part has servers of its own and is measured through public doors, beside the least that does the same. The load
generator runs on the same machine and takes its share of it. Results go to the terminal and, for machines, to
.local/bench.json, where parts gather; `--write` brings all of it to docs/performance.md.
"""

import argparse
import asyncio
import signal

import accept
import footprint
import history
import page
import peers
import pipeline
import reads
import relay
import results
import streams
import window

PARTS = {
    "accept": accept.measure,
    "reads": reads.measure,
    "pipeline": pipeline.measure,
    "relay": relay.measure,
    "peers": peers.measure,
    "streams": streams.measure,
    "history": history.measure,
    "footprint": footprint.measure,
    "window": window.measure,
}


def main() -> None:
    """Measure, show and keep."""
    parser = argparse.ArgumentParser(description="Benchmarks of the gateway.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--write", action="store_true", help="bring what is kept to docs/performance.md")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is taken down then, too
    for part in given.parts or (() if given.write else PARTS):
        found_on = results.machine()
        outcome = asyncio.run(PARTS[part]())
        results.show(part, outcome)
        results.keep(part, outcome, command=f"make bench PART={part}", found_on=found_on)
    if given.write:
        page.write(results.read())


if __name__ == "__main__":
    main()
