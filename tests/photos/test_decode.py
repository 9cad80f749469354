"""Photos of every format, mode and state of repair become tiles, or a PhotoError in one line."""

import contextlib
import hashlib
import io
import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import ONE_TILE, RED, centre, encoded, near, smooth, wide_profile, write
from PIL import Image, ImageFile

from carscribe.errors import PhotoError
from carscribe.photos.decode import read_photo
from carscribe.photos.tiles import choose_grid, cut
from carscribe.records import Tiling

REAL_PHOTOS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars"))


def quadrants(width_px: int = 96, height_px: int = 64) -> Image.Image:
    """Red, green over blue, white: any turn or mirroring shows."""
    image = Image.new("RGB", (width_px, height_px), "white")
    half = (width_px // 2, height_px // 2)
    image.paste((255, 0, 0), (0, 0, *half))
    image.paste((0, 255, 0), (half[0], 0, width_px, half[1]))
    image.paste((0, 0, 255), (0, half[1], half[0], height_px))
    return image


def png_of_size(width_px: int, height_px: int) -> bytes:
    """A PNG that promises a size and has next to nothing in it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_every_format_is_known_by_content_not_by_suffix(tmp_path, format_):
    path = write(tmp_path, encoded(Image.new("RGB", (120, 80), RED), format_), "사진 1.txt")
    photo = read_photo(path, Tiling(tile_px=64))
    assert (photo.width_px, photo.height_px) == (120, 80)
    assert photo.tiles.shape == (7, 64, 64, 3)
    assert near(tuple(photo.tiles[0, 32, 32].tolist()), RED)
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heic_is_read_without_registering_an_opener(tmp_path, mode):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pi-heif cannot write HEIC; pillow-heif can")
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (120, 80), RED).convert(mode)).save(stream, quality=95)
    openers = set(Image.OPEN)
    photo = read_photo(write(tmp_path, stream.getvalue(), "a.jpg"), ONE_TILE)
    assert set(Image.OPEN) == openers
    grey = Image.new("RGB", (1, 1), RED).convert("L").getpixel((0, 0))
    assert near(tuple(photo.tiles[0, 32, 32].tolist()), (grey,) * 3 if mode == "L" else RED)


def test_heic_is_turned_once(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pi-heif cannot write HEIC; pillow-heif can")
    image = quadrants()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95)
    photo = read_photo(write(tmp_path, stream.getvalue()), ONE_TILE)
    upright = pillow_heif.open_heif(io.BytesIO(stream.getvalue())).to_pillow()
    assert (photo.width_px, photo.height_px) == upright.size
    expected = cut(upright.convert("RGB"), choose_grid(*upright.size, ONE_TILE), ONE_TILE)
    assert np.abs(photo.tiles.astype(int) - expected).max() <= 2


def test_damaged_heic_is_a_photo_error(tmp_path):
    path = write(tmp_path, b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + b"\x07" * 300)
    with pytest.raises(PhotoError, match="damaged or cut-off HEIC"):
        read_photo(path, ONE_TILE)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, format_, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 98}}
    path = write(tmp_path, encoded(quadrants(), format_, exif=exif, **lossless.get(format_, {})))
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    upright = quadrants().transpose(turns[orientation]) if orientation > 1 else quadrants()
    photo = read_photo(path, ONE_TILE, exact=True)
    assert (photo.width_px, photo.height_px) == upright.size
    expected = cut(upright, choose_grid(*upright.size, ONE_TILE), ONE_TILE)
    assert np.abs(photo.tiles.astype(int) - expected).mean() < 8
    corners = photo.tiles[0][[8, 8, 56, 56], [8, 56, 8, 56]].astype(int)
    assert np.abs(corners - expected[0][[8, 8, 56, 56], [8, 56, 8, 56]]).max() < 40


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG", "AVIF"])
def test_the_first_picture_of_several_is_taken(tmp_path, format_):
    first, second = Image.new("RGB", (70, 70), RED), Image.new("RGB", (70, 70), "blue")
    path = write(tmp_path, encoded(first, format_, save_all=True, append_images=[second]))
    assert near(centre(path), RED)


def test_mpo_of_a_phone_is_read_as_its_jpeg(tmp_path):
    first, second = Image.new("RGB", (70, 70), RED), Image.new("RGB", (70, 70), "blue")
    assert near(centre(write(tmp_path, encoded(first, "MPO", save_all=True, append_images=[second]))), RED)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_shrunk_on_load_but_never_below_its_canvas(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path, encoded(smooth(1500, 500), "JPEG", quality=95, exif=exif))
    tiling = Tiling(tile_px=112)
    quick, exact = read_photo(path, tiling), read_photo(path, tiling, exact=True)
    assert (quick.width_px, quick.height_px) == ((500, 1500) if orientation == 6 else (1500, 500))
    with Image.open(path) as image:
        image.draft(None, (672, 224))  # the canvas, lying as the file lies
        assert image.size == (750, 250)
        upright = image.transpose(Image.Transpose.ROTATE_270) if orientation == 6 else image
        expected = cut(upright.convert("RGB"), choose_grid(quick.width_px, quick.height_px, tiling), tiling)
    np.testing.assert_array_equal(quick.tiles, expected)
    assert quick.tiles.shape == exact.tiles.shape == (13, 112, 112, 3)
    assert 0 < np.abs(quick.tiles.astype(int) - exact.tiles).mean() < 1.5


@pytest.mark.parametrize("size", [(895, 449), (449, 895), (448, 448), (900, 447)])
def test_a_jpeg_hardly_larger_than_its_canvas_is_decoded_whole(tmp_path, size):
    path = write(tmp_path, encoded(smooth(*size), "JPEG"))
    np.testing.assert_array_equal(read_photo(path, Tiling()).tiles, read_photo(path, Tiling(), exact=True).tiles)


def grainy(width_px: int, height_px: int) -> Image.Image:
    """Grain, which no format makes small."""
    levels = np.random.default_rng(5).integers(0, 256, (height_px, width_px, 3))
    return Image.fromarray(levels.astype(np.uint8))


@pytest.mark.parametrize("format_", ["JPEG", "BMP", "GIF"])
def test_a_large_file_goes_to_the_decoder_in_one_piece_and_gives_the_same_pixels(tmp_path, format_):
    path = write(tmp_path, encoded(grainy(448, 448), format_))
    assert path.stat().st_size > ImageFile.MAXBLOCK
    pieces = []

    def watch(frame: object, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") == "decode":
            pieces.append(type(called.__self__).__name__)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        photo = read_photo(path, Tiling())
    finally:
        sys.setprofile(before)
    assert pieces == ["ImagingDecoder"]
    with Image.open(path) as image:  # in pieces
        np.testing.assert_array_equal(photo.tiles[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format_", ["JPEG", "BMP", "GIF", "PNG", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_large_file_cut_off_is_a_photo_error(tmp_path, format_, share):
    content = encoded(grainy(448, 448), format_)
    with pytest.raises(PhotoError, match="damaged or cut-off"):
        read_photo(write(tmp_path, content[: int(len(content) * share)]), Tiling())


@pytest.mark.parametrize("size", [(4, 3000), (3000, 4), (1, 1)])
def test_extreme_shapes_are_read(tmp_path, size):
    photo = read_photo(write(tmp_path, encoded(Image.new("RGB", size, RED), "JPEG")), Tiling())
    assert near(tuple(photo.tiles[0, 200, 200].tolist()), RED)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML page"),
        (b"\xef\xbb\xbf\n  <html lang=ko>", "is an HTML page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
        (b'{"error": "not found"}', "is JSON text"),
        (b"Not Found", "is text"),
        (b"%PDF-1.4", "is a PDF document"),
        (b"\0" * 5000, "is nothing but zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "is a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "is a camera raw file"),
        (b"\x01\x02\x03\x04 nothing known", "is not an image that can be read"),
        (b"\xff\xd8\xff", "is a damaged or cut-off JPEG"),
        (b"\xff\xd8\xff\xe0" + b"\x11" * 500, "is a damaged or cut-off JPEG"),
        (b"\x89PNG\r\n\x1a\n", "is a damaged or cut-off PNG"),
        (b"II*\0\x08\0\0\0", "is a damaged or cut-off TIFF"),
        (b"BM\0\0", "is a damaged or cut-off BMP"),
        (b"GIF89a", "is a damaged or cut-off GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "is a damaged or cut-off WebP"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf", "is a damaged or cut-off AVIF"),
        (png_of_size(0, 100), "is a damaged or cut-off PNG"),
        (png_of_size(20_000, 20_000), "is 20000 × 20000 = 400,000,000 pixels and the limit is 200,000,000"),
    ],
)
def test_what_is_no_photo_says_what_it_is(tmp_path, content, said):
    with pytest.raises(PhotoError) as caught:
        read_photo(write(tmp_path, content), Tiling())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_file_cut_off_anywhere_is_a_photo_error(tmp_path, format_, share):
    options = {"compression": "tiff_lzw"} if format_ == "TIFF" else {}
    content = encoded(smooth(200, 150), format_, **options)
    with pytest.raises(PhotoError, match=r"damaged or cut-off|not an image|no pixels"):
        read_photo(write(tmp_path, content[: int(len(content) * share)]), Tiling())


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_damaged_bytes_raise_nothing_but_photo_error(tmp_path, format_):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Carscribe"
    content = encoded(smooth(40, 30), format_, **({} if format_ in ("BMP", "GIF") else {"exif": exif}))
    random = np.random.default_rng(7)
    for _ in range(60):
        damaged = bytearray(content)
        for at in random.integers(0, len(damaged), 6):
            damaged[at] = int(random.integers(0, 256))
        with contextlib.suppress(PhotoError):
            photo = read_photo(write(tmp_path, bytes(damaged)), ONE_TILE, pixel_limit=1_000_000)
            assert photo.tiles.shape == (1, 64, 64, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" * 2,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01",
    ],
)
@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "PNG"])
def test_damaged_exif_is_passed_over_without_a_warning(tmp_path, format_, exif):
    path = write(tmp_path, encoded(Image.new("RGB", (70, 70), RED), format_, exif=exif))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert near(centre(path), RED)
    assert not caught


def test_the_limit_counts_before_decoding_and_pillows_own_stays_quiet(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = write(tmp_path, encoded(Image.new("RGB", (100, 80), RED), "TIFF"))
    with pytest.raises(PhotoError, match=r"8,000 pixels and the limit is 7,999.*raise the limit"):
        read_photo(path, ONE_TILE, pixel_limit=7_999)
    assert read_photo(path, ONE_TILE, pixel_limit=8_000).width_px == 100
    assert Image.MAX_IMAGE_PIXELS == 8_000
    read_photo(path, ONE_TILE, pixel_limit=8_001)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    read_photo(path, ONE_TILE)
    assert Image.MAX_IMAGE_PIXELS is None


def test_pillows_own_limit_is_told_as_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = write(tmp_path, encoded(Image.new("RGB", (100, 80), RED), "WEBP"))
    with pytest.raises(PhotoError, match=r"limit (is|of) 1,000.*raise the limit"):
        read_photo(path, ONE_TILE, pixel_limit=1000)


def test_a_photo_too_large_for_memory_is_a_photo_error(tmp_path, monkeypatch):
    from PIL.PngImagePlugin import PngImageFile

    def no_memory(image: PngImageFile) -> None:
        raise MemoryError

    path = write(tmp_path, encoded(Image.new("RGB", (70, 70)), "PNG"))
    monkeypatch.setattr(PngImageFile, "load", no_memory)
    with pytest.raises(PhotoError, match="does not fit in memory"):
        read_photo(path, ONE_TILE)


def test_a_camera_raw_file_is_not_taken_for_its_thumbnail(tmp_path):
    path = write(tmp_path, encoded(Image.new("RGB", (160, 120)), "TIFF", tiffinfo={254: 1}), "a.nef")
    with pytest.raises(PhotoError, match="camera raw file"):
        read_photo(path, ONE_TILE)


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing.jpg", "does not exist"), (".", "is a folder"), ("zero\0byte.jpg", "cannot be read from disk")],
)
def test_what_cannot_be_opened_says_why(tmp_path, name, said):
    with pytest.raises(PhotoError, match=said):
        read_photo(tmp_path / name, ONE_TILE)


def test_a_name_too_long_is_a_photo_error(tmp_path):
    with pytest.raises(PhotoError, match=r"cannot be read from disk|does not exist"):
        read_photo(tmp_path / ("가" * 300 + ".jpg"), ONE_TILE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_photo_error(tmp_path):
    path = write(tmp_path, encoded(Image.new("RGB", (8, 8)), "PNG"))
    path.chmod(0)
    with pytest.raises(PhotoError, match="may not be read"):
        read_photo(path, ONE_TILE)


def test_many_threads_read_what_one_reads(tmp_path):
    paths = [
        write(tmp_path, encoded(smooth(90 + n, 70), "JPEG", icc_profile=wide_profile()), f"{n}") for n in range(12)
    ]
    paths += [write(tmp_path, encoded(smooth(90 + n, 70), "AVIF"), f"avif{n}") for n in range(4)]
    alone = [read_photo(path, ONE_TILE).tiles for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_photo(path, ONE_TILE).tiles, paths * 5))
    for one, other in zip(alone * 5, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"no real photographs at {REAL_PHOTOS}")
def test_real_photographs_equal_transformers_on_the_same_pixels():
    got_ocr2 = pytest.importorskip("transformers.models.got_ocr2.image_processing_pil_got_ocr2")
    processor = got_ocr2.GotOcr2ImageProcessorPil(
        size={"height": 448, "width": 448}, crop_to_patches=True, do_rescale=False, do_normalize=False
    )
    paths = sorted(REAL_PHOTOS.glob("images/*.jpg"))
    assert len(paths) == 44
    for path in paths[::8]:
        photo = read_photo(path, Tiling(), exact=True)
        with Image.open(path) as image:
            expected = np.stack([np.asarray(tile) for tile in processor(image.convert("RGB"))["pixel_values"]])
        np.testing.assert_array_equal(photo.tiles.transpose(0, 3, 1, 2), expected, err_msg=path.name)


@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"no real photographs at {REAL_PHOTOS}")
def test_real_photographs_are_all_read():
    for path in sorted(REAL_PHOTOS.glob("images/*.jpg")):
        photo = read_photo(path, Tiling(tile_px=112))
        assert photo.tiles.shape[0] == choose_grid(photo.width_px, photo.height_px, Tiling(tile_px=112)).tiles
