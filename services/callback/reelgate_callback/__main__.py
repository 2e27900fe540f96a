"""The callback process: `python -m reelgate_callback`."""

from reelgate_callback.app import create_app
from reelgate_callback.settings import Settings
from reelgate_common import service
from reelgate_common.settings import load_or_exit


def main() -> None:
    """Serve until told to stop."""
    settings = load_or_exit(Settings)
    service.run("callback", create_app(settings), settings)


if __name__ == "__main__":
    main()
