"""Which bytes are an image, held against what an imaging library writes; and everything that only looks like one."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from reelgate_api.images.content import inspect
from reelgate_common.domain.errors import InvalidInput

NOT_AN_IMAGE = "file must be a JPEG, PNG or WebP image: its bytes are not"


def picture(kind, *, size=(5, 3), mode="RGB", **options):
    """An image as a real encoder writes it."""
    out = io.BytesIO()
    Pillow.radial_gradient("L").resize(size).convert(mode).save(out, kind, **options)
    return out.getvalue()


def several(kind, size=(5, 3)):
    frames = [Pillow.new("RGB", size, color) for color in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


def exif():
    data = Pillow.Exif()
    data[0x010E] = "a thumbnail would end here: \u00ff\u00d9"
    return data


PNG, JPEG, WEBP = picture("PNG"), picture("JPEG"), picture("WEBP")
WHOLE = {
    "png": PNG,
    "png, grey": picture("PNG", mode="1"),
    "png, palette": picture("PNG", mode="P"),
    "png, alpha": picture("PNG", mode="RGBA", optimize=True),
    "png, animated": several("PNG"),
    "jpeg": JPEG,
    "jpeg, grey": picture("JPEG", mode="L"),
    "jpeg, cmyk": picture("JPEG", mode="CMYK"),
    "jpeg, progressive": picture("JPEG", progressive=True),
    "jpeg, with metadata": picture("JPEG", exif=exif(), icc_profile=b"p" * 200_000, comment=b"\xff\xd9"),
    "webp": WEBP,
    "webp, lossless": picture("WEBP", lossless=True),
    "webp, alpha": picture("WEBP", mode="RGBA", exif=exif()),
    "webp, animated": several("WEBP"),
}


def refusal(file):
    """The sentence a file is refused with; None when it is taken."""
    try:
        inspect(file)
    except InvalidInput as error:
        return str(error) if error.field == "file" else f"{error.field}: {error}"
    return None


@pytest.mark.parametrize("name", WHOLE)
def test_what_an_encoder_writes_is_taken_for_what_it_is(name):
    image = inspect(WHOLE[name])

    kind = name.partition(",")[0]
    assert (image.media_type, image.extension) == (f"image/{kind}", {"jpeg": "jpg"}.get(kind, kind))
    assert (image.width, image.height) == (5, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (255, 256), (257, 128), (4097, 2)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00"}),
    ],
)
def test_dimensions_are_those_the_library_reads(kind, options, size):
    image = inspect(picture(kind, size=size, **options))

    assert (image.width, image.height) == size


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_short_anywhere_is_refused(name):
    whole = WHOLE[name]
    cuts = {*range(min(len(whole), 2_000)), *range(max(len(whole) - 300, 0), len(whole))}

    assert [cut for cut in cuts if refusal(whole[:cut]) is None] == []


def test_a_file_cut_short_says_so():
    assert refusal(PNG[:-1]) == "file is a PNG that is cut short or damaged: save or send it again"


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"x",
        b"\x89PNG",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!doctype html><script>alert(1)</script>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"BM" + bytes(60),
        b"II*\x00" + bytes(60),
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x20ftypavif" + bytes(60),
        b"\xef\xbb\xbf" + PNG,
        b" " + JPEG,
        b"<html>" + WEBP,
        picture("GIF"),
        picture("BMP"),
        picture("TIFF"),
    ],
)
def test_other_content_is_refused_whatever_follows_in_it(file):
    assert refusal(file) == NOT_AN_IMAGE


@pytest.mark.parametrize("beginning", [PNG[:8], JPEG[:3], JPEG[:20], WEBP[:12], WEBP[:16]])
@pytest.mark.parametrize("rest", [b"", b"<script>alert(1)</script>" * 9, bytes(999), b"\xff" * 999])
def test_the_beginning_of_an_image_is_no_image(beginning, rest):
    assert "cut short or damaged" in refusal(beginning + rest)


@pytest.mark.parametrize("whole", [PNG, JPEG, WEBP])
@pytest.mark.parametrize("more", [b"PK\x03\x04", b"<script>alert(1)</script>", bytes(1000), PNG, b"\xff\xd9"])
def test_what_stands_behind_a_whole_image_does_not_matter(whole, more):
    assert inspect(whole + more) == inspect(whole)  # cameras do it; decoders and browsers see the image


def png(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:12] + header + zlib.crc32(header).to_bytes(4) + PNG[33:]


def jpeg(width, height):
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def webp(width, height):
    whole = WHOLE["webp, animated"]
    return whole[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + whole[30:]


@pytest.mark.parametrize("size", [(1, 16_384), (16_384, 1), (10_000, 10_000), (4096, 4096)])
@pytest.mark.parametrize("make", [png, jpeg, webp])
def test_large_pictures_are_taken(make, size):
    image = inspect(make(*size))

    assert (image.width, image.height) == size


@pytest.mark.parametrize(
    ("make", "size"),
    [
        *[(make, size) for make in (png, jpeg) for size in [(0, 3), (5, 0), (0, 0), (65_535, 1)]],
        *[(make, size) for make in (png, jpeg, webp) for size in [(16_385, 1), (1, 16_385), (10_001, 10_000)]],
        (png, (2**31, 2**31)),
        (webp, (2**24, 2**24)),
    ],
)
def test_empty_and_absurd_pictures_are_refused_by_their_size(make, size):
    assert refusal(make(*size)).startswith(f"file is {size[0]} x {size[1]} pixels: send ")


def test_a_png_whose_header_is_damaged_is_refused():
    assert "damaged" in refusal(PNG[:19] + b"\x07" + PNG[20:])


@pytest.mark.parametrize("behind", [b"", b"\x00\x00\x00\x00IDAT"])
def test_a_png_that_ends_before_its_picture_is_refused(behind):
    assert "damaged" in refusal(PNG[:33] + PNG[-12:] + behind)


def test_a_webp_of_a_header_alone_is_refused():
    assert "damaged" in refusal(b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + bytes(10))


def test_a_jpeg_of_endless_segments_is_given_up():
    assert "damaged" in refusal(JPEG[:2] + b"\xff\xfe\x00\x02" * 500_000 + JPEG[2:])


@given(
    st.sampled_from([PNG[:8], JPEG[:2], b"RIFF", WEBP[:16], b"RIFF\x20\x00\x00\x00WEBPVP8X", b""]),
    st.binary(max_size=200),
)
def test_any_bytes_are_judged_and_none_crashes(beginning, rest):
    refusal(beginning + rest)


@given(st.sampled_from(list(WHOLE.values())), st.data())
def test_a_changed_byte_is_judged_and_never_gives_an_absurd_size(whole, data):
    at = data.draw(st.integers(0, min(len(whole), 300) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]

    try:
        image = inspect(changed)
    except InvalidInput:
        return
    assert 0 < image.width <= 16_384
    assert 0 < image.height <= 16_384
