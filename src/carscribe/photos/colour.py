"""Turn a decoded Pillow image of any mode into 8-bit sRGB, as a screen would show it on white paper."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# A profile that moves no colour of the probe further than this (of 255) is sRGB under another name; converting would
# only add rounding and time. sRGB's own variants differ by 1.
_SAME_COLOUR = 2
_MODE_OF_PROFILE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, *, bits: int = 16) -> Image.Image:
    """A loaded image as RGB: deep greys scaled, ICC profile applied, transparency laid over white.

    A profile that is broken or of another colour space than the image is passed over. `bits` is the depth of a 16-bit
    mode's values (a 12-bit TIFF is held in 16).
    """
    profile = image.info.get("icc_profile")
    colour, alpha = _split_alpha(_to_8_bit(image, bits))
    converted = _apply_profile(colour, profile) if isinstance(profile, bytes) and profile else None
    rgb = converted if converted is not None else _to_rgb(colour)
    if alpha is None:
        return rgb
    return Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)


def _to_rgb(colour: Image.Image) -> Image.Image:
    if colour.mode == "LAB":  # Pillow converts it only by profile
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return _transformed(colour, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    return colour if colour.mode == "RGB" else colour.convert("RGB")


def _to_8_bit(image: Image.Image, bits: int) -> Image.Image:
    """Scale 16-bit, 32-bit and float greys by value: Pillow's own `convert` would clip them at 255."""
    if image.mode.startswith("I;16"):
        scaled = _scale_16(np.asarray(image), bits)
    elif image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
        scaled = _scale_by_range(values, integers=image.mode == "I")
    else:
        return image
    grey = Image.fromarray(scaled)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # a 16-bit PNG may name one level as see-through
        grey.putalpha(Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8)))
    return grey


def _scale_16(levels: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    full = (1 << bits) - 1
    every = np.minimum(np.arange(1 << 16), full)
    # A table of all 65,536 levels needs no second copy of the photo in a wider type.
    table = ((every * 255 + full // 2) // full).astype(np.uint8)
    return np.asarray(table[levels], dtype=np.uint8)


def _scale_by_range(values: NDArray[np.float32], *, integers: bool) -> NDArray[np.uint8]:
    """Scale greys whose file does not say what white is: the first usual white (1, 255, 65535) that holds them all."""
    peak = float(values.max())
    usual = (255.0, 65535.0, float(2**31)) if integers else (1.0, 255.0, 65535.0)
    white = next((white for white in usual if peak <= white), peak)
    scaled: NDArray[np.float32] = np.clip(values * np.float32(255.0 / white) + np.float32(0.5), 0, 255)
    return scaled.astype(np.uint8)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The image's colours without alpha, and its alpha as mode L (None when nothing is see-through)."""
    if image.mode in ("RGBa", "La"):  # premultiplied
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if _names_clear_colour(image):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode == "PA":
        image = image.convert("RGBA")
    if image.mode not in ("RGBA", "LA"):
        opaque = {"P": "RGB", "1": "L"}.get(image.mode)
        return (image.convert(opaque) if opaque else image), None
    alpha = image.getchannel("A")
    colour = image.convert("RGB" if image.mode == "RGBA" else "L")
    return colour, None if alpha.getextrema() == (255, 255) else alpha


def _names_clear_colour(image: Image.Image) -> bool:
    """Whether a PNG or GIF names its see-through colour beside the pixels, in a form Pillow can apply."""
    clear = image.info.get("transparency")
    match image.mode:
        case "P":
            return isinstance(clear, int | bytes)
        case "1" | "L":
            return isinstance(clear, int)
        case "RGB":
            # A 16-bit PNG names a 16-bit colour while its pixels were read as 8 bits: no pixel can be told to be it.
            return isinstance(clear, tuple) and all(0 <= level <= 255 for level in clear)
        case _:
            return False


def _apply_profile(colour: Image.Image, profile_bytes: bytes) -> Image.Image | None:
    """The image through its profile to sRGB; None when the profile cannot be used or changes nothing."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
        mode = _MODE_OF_PROFILE.get(profile.profile.xcolor_space.strip())
        if colour.mode == "L" and mode == "RGB":
            colour = colour.convert("RGB")
        if mode is None or colour.mode != mode:
            return None
        if mode != "CMYK" and _changes_nothing(profile_bytes, mode):
            return None
        return _transformed(colour, _transform(profile_bytes, mode))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _transform(profile_bytes: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """From a profile to sRGB. Made for one call, both profiles too: lcms objects are not shared between threads."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
    return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")


def _transformed(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # None only when asked to work in place
    return converted


# Most photos of a folder carry the same one or two profiles, and trying one holds the interpreter for a millisecond.
@lru_cache(maxsize=16)
def _changes_nothing(profile_bytes: bytes, mode: str) -> bool:
    """Whether a profile is sRGB, tried on a small probe: 9 × 9 × 9 colours, or all 256 greys.

    Raises: as `ImageCms` does, of a profile that cannot be used.
    """
    if mode == "L":
        probe = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    else:
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        probe = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3))
    before = np.asarray(probe.convert("RGB")).astype(np.int16)
    moved = np.asarray(_transformed(probe, _transform(profile_bytes, mode))) - before
    return int(np.abs(moved).max()) <= _SAME_COLOUR
