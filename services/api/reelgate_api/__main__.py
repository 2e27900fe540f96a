"""The api process: `python -m reelgate_api`."""

from reelgate_api.app import create_app
from reelgate_api.settings import Settings
from reelgate_common import service
from reelgate_common.settings import load_or_exit


def main() -> None:
    """Serve until told to stop."""
    settings = load_or_exit(Settings)
    if settings.api_workers > 1:
        service.run("api", "reelgate_api.app:create_from_environment", settings, workers=settings.api_workers)
    else:
        service.run("api", create_app(settings), settings)


if __name__ == "__main__":
    main()
