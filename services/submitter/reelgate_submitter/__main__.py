"""The submitter process: `python -m reelgate_submitter`."""

from reelgate_common import service
from reelgate_common.settings import load_or_exit
from reelgate_submitter.app import create_app
from reelgate_submitter.settings import Settings


def main() -> None:
    """Send jobs until told to stop."""
    settings = load_or_exit(Settings)
    service.run("submitter", create_app(settings), settings)


if __name__ == "__main__":
    main()
