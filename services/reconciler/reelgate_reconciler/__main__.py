"""The reconciler process: `python -m reelgate_reconciler`."""

from reelgate_common import service
from reelgate_common.settings import load_or_exit
from reelgate_reconciler.app import create_app
from reelgate_reconciler.settings import Settings


def main() -> None:
    """Heal until told to stop."""
    settings = load_or_exit(Settings)
    service.run("reconciler", create_app(settings), settings)


if __name__ == "__main__":
    main()
