"""The OpenAPI document as text, for `docs/openapi.json`: `python -m reelgate_api.openapi`."""

import json
import sys

from reelgate_api.app import create_app
from reelgate_api.settings import Settings


def document() -> str:
    """What the app serves at /openapi.json. No setting is part of it, so none is read."""
    app = create_app(Settings.model_construct(public_base_url="https://gateway.example"))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
