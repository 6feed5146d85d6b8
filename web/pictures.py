"""Pictures for the browser.

In: RGB images. Out: JPEG.
"""

from __future__ import annotations

from io import BytesIO

import PIL.Image

from realtime.media import Image


def jpeg(image: Image, quality: int) -> bytes:
    """`image`, uint8 (height, width, 3) RGB, as JPEG of a `quality` from 1 to 95."""
    data = BytesIO()
    PIL.Image.fromarray(image).save(data, "JPEG", quality=quality)
    return data.getvalue()
