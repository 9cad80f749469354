"""Photos as small pictures inside an HTML page."""

import base64
import io
from pathlib import Path

from PIL import Image

from carscribe.errors import PhotoError
from carscribe.photos.decode import read_preview

THUMBNAIL_PX, JPEG_QUALITY = 320, 72


def thumbnail(location: str) -> str:
    """An `img` with the photo in it, upright and in its own proportions; a note where it cannot be read."""
    try:
        preview = read_preview(Path(location), THUMBNAIL_PX)
    except (PhotoError, MemoryError):
        return '<div class="gone">The photo cannot be read</div>'
    stream = io.BytesIO()
    Image.fromarray(preview.pixels).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode("ascii")}" alt="">'
