"""HTTP in: an image in a form."""

import asyncio

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException

from reelgate_api.dependencies import CallerDep, PartsDep
from reelgate_api.images import form, handlers
from reelgate_api.images.schemas import FORM, UploadedImage
from reelgate_api.problems import responses
from reelgate_common.domain.errors import Unavailable

router = APIRouter()

PATH = "/api/video/images"
_READ_SECONDS = 60  # a slow sender holds one of the few places


@router.post(
    PATH,
    status_code=201,
    operation_id="upload_image",
    tags=["videos"],
    responses=responses(400, 401, 403, 408, 413, 503),
    openapi_extra=FORM,
)
async def upload_image(request: Request, caller: CallerDep, parts: PartsDep) -> UploadedImage:
    """Hand over a local image; the URL in the answer is good for image_urls. Repeating it is harmless."""
    # The form is read here, not by FastAPI, which would read it before it asks who calls.
    if parts.image_places.locked():
        raise Unavailable("all places for images are taken")
    async with parts.image_places:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                file = await form.read_file(request, max_bytes=parts.settings.max_image_bytes)
        except TimeoutError:
            raise HTTPException(408, f"The file did not arrive within {_READ_SECONDS} s") from None
        handed = await handlers.hand_over(file, caller=caller, kie=parts.kie)
    return UploadedImage.model_validate(handed, from_attributes=True)
