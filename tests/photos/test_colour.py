"""Pixels of every mode and profile become 8-bit sRGB on white."""

import struct

import numpy as np
import pytest
from pictures import ONE_TILE, RED, centre, encoded, near, smooth, wide_profile, write
from PIL import Image, ImageCms

from carscribe.photos.colour import to_srgb
from carscribe.photos.decode import read_photo
from carscribe.records import Tiling


def cmyk_profile() -> bytes:
    """A printer's ICC profile (version 2, one 8-bit table) in which red ink prints green, and all other is white."""
    corners = [(255, 128, 128)] * 16  # Lab, 8 bits; the corners of CMYK, cyan slowest
    corners[0b0110] = (140, 60, 180)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4
    table += b"".join(bytes(corner) for corner in corners) + identity * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(
        ">I4sI4s4s4s12s4s", 144 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"", b"acsp"
    )
    header += b"\0" * 28 + struct.pack(">3i", 63190, 65536, 54061)  # D50
    return header.ljust(128, b"\0") + tags + table


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (0, 128), (127, 127, 127)),
        ("RGB", RED, RED),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("I;16", 32768, (128, 128, 128)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 256, (1, 1, 1)),
    ],
)
def test_every_mode_of_png_becomes_rgb_on_white(tmp_path, mode, colour, expected):
    path = write(tmp_path, encoded(Image.new(mode, (70, 70), colour), "PNG"))
    assert near(centre(path), expected, within=1)


@pytest.mark.parametrize("transparency", [0, b"\0\xff", b"\x80"])
def test_palette_with_transparency_is_laid_on_white(tmp_path, transparency):
    image = Image.new("P", (70, 70), 0)
    image.putpalette([0, 0, 0, *RED])
    image.paste(1, (35, 0, 70, 70))
    path = write(tmp_path, encoded(image, "PNG", transparency=transparency))
    left, right = read_photo(path, ONE_TILE).tiles[0][32, [8, 56]].tolist()
    assert near(tuple(left), (127, 127, 127) if transparency == b"\x80" else (255, 255, 255), within=1)
    assert tuple(right) == RED


@pytest.mark.parametrize(
    ("mode", "colour", "clear"), [("RGB", RED, RED), ("L", 7, 7), ("I;16", 4000, 4000), ("1", 0, 0)]
)
def test_a_colour_named_transparent_is_white(tmp_path, mode, colour, clear):
    path = write(tmp_path, encoded(Image.new(mode, (70, 70), colour), "PNG", transparency=clear))
    assert centre(path) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_modes_that_only_memory_has_are_converted(mode):
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 51))
    image = half.convert("LA").convert("La") if mode == "La" else half.convert(mode)
    assert to_srgb(image).mode == "RGB"
    if mode != "PA":
        assert near(to_srgb(image).getpixel((0, 0)), (204, 204, 204), within=1)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((70, 70), 32768, np.uint16), 128),
        (np.full((70, 70), 65535, np.uint16), 255),
        (np.full((70, 70), 0.5, np.float32), 128),
        (np.full((70, 70), 200.0, np.float32), 200),
        (np.full((70, 70), np.nan, np.float32), 0),
        (np.full((70, 70), 51400, np.int32), 200),
        (np.full((70, 70), 200, np.int32), 200),
    ],
)
def test_deep_tiff_is_scaled_by_value(tmp_path, array, expected):
    path = write(tmp_path, encoded(Image.fromarray(array), "TIFF"))
    assert near(centre(path), (expected,) * 3, within=1)


def test_deep_tiff_with_white_as_zero_is_turned_positive(tmp_path):
    image = Image.fromarray(np.full((70, 70), 65535, np.uint16))
    assert centre(write(tmp_path, encoded(image, "TIFF", tiffinfo={262: 0}))) == (0, 0, 0)


def test_lab_tiff_is_converted(tmp_path):
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (70, 70), RED), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert near(centre(write(tmp_path, encoded(lab, "TIFF"))), RED)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_without_profile_is_not_inverted(tmp_path, format_):
    image = Image.new("CMYK", (70, 70), (0, 255, 255, 0))  # red ink
    assert near(centre(write(tmp_path, encoded(image, format_))), (255, 0, 0))


def test_an_embedded_profile_is_applied(tmp_path):
    path = write(tmp_path, encoded(Image.new("RGB", (70, 70), (250, 20, 20)), "PNG", icc_profile=wide_profile()))
    red, green, blue = centre(path)
    assert green > 200 > 150 > max(red, blue)


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(tmp_path, format_):
    image = Image.new("CMYK", (70, 70), (0, 255, 255, 0))
    red, green, blue = centre(write(tmp_path, encoded(image, format_, icc_profile=cmyk_profile())))
    assert green > 100 > max(red, blue)


def test_an_srgb_profile_changes_no_pixel(tmp_path):
    image = smooth(300, 200)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = read_photo(write(tmp_path, encoded(image, "PNG"), "a.png"), Tiling())
    tagged = read_photo(write(tmp_path, encoded(image, "PNG", icc_profile=srgb), "b.png"), Tiling())
    np.testing.assert_array_equal(plain.tiles, tagged.tiles)


def test_a_profile_seen_before_is_still_applied(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("RGB", (70, 70), (250, 20, 20))
    for number in range(2):
        red, green, blue = centre(write(tmp_path, encoded(image, "PNG", icc_profile=wide_profile()), f"{number}.png"))
        assert green > 200 > 150 > max(red, blue)
        assert centre(write(tmp_path, encoded(image, "PNG", icc_profile=srgb), f"srgb{number}.png")) == (250, 20, 20)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", RED, RED),
        ("L", 90, (90, 90, 90)),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
@pytest.mark.parametrize("profile", [b"nonsense", wide_profile()[:200], b"\0" * 128])
def test_a_broken_profile_is_passed_over(tmp_path, mode, colour, expected, profile):
    path = write(tmp_path, encoded(Image.new(mode, (70, 70), colour), "TIFF", icc_profile=profile))
    assert near(centre(path), expected, within=1)


@pytest.mark.parametrize(("mode", "colour"), [("L", 90), ("CMYK", (0, 0, 0, 165)), ("LA", (90, 255))])
def test_a_profile_of_another_colour_space_does_no_harm(tmp_path, mode, colour):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    format_ = "TIFF" if mode == "CMYK" else "PNG"
    assert near(
        centre(write(tmp_path, encoded(Image.new(mode, (70, 70), colour), format_, icc_profile=srgb))), (90,) * 3
    )
