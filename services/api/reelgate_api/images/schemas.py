"""HTTP bodies of image uploads."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

# By hand, since the route reads the form itself.
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "A JPEG, PNG or WebP image. Its name and declared type are not looked at.",
                        }
                    },
                }
            }
        },
    }
}


class UploadedImage(BaseModel):
    """An image that Kie.ai can fetch."""

    url: str = Field(
        description="For image_urls of POST /api/video/generate. Anyone who knows it can fetch the image.",
        examples=["https://files.example.com/images/cat.png"],
    )
    media_type: str = Field(description="What it is by its content.", examples=["image/png"])
    size: int = Field(description="Bytes.", examples=[20480])
    width: int = Field(description="Pixels.", examples=[1280])
    height: int = Field(description="Pixels.", examples=[720])
    expires_at: datetime = Field(
        description="Kie.ai keeps it until then at least; upload it again for later jobs.",
        examples=["2026-01-01T00:00:00Z"],
    )
