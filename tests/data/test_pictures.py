"""Pictures of every kind: used as they should be, or told apart with the reason."""

import pickle
import struct
import zipfile
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from ohlora_gan.data.pictures import Pictures, PictureSource, UnusablePictureError, decode, to_square

NOISE = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)


def encoded(image, kind="PNG", **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb():
    """A PNG of a few hundred bytes that says it has 20,000 x 20,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def damaged_png():
    data = bytearray(encoded(Image.fromarray(NOISE)))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def transparent_palette():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 16, 32))
    return encoded(image, "GIF", transparency=1)


WHOLE_JPEG = encoded(Image.fromarray(NOISE), "JPEG")
GREY_16 = Image.fromarray(np.full((32, 32), 128 * 257, np.uint16))
FIRST, SECOND = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")

GOOD = {  # the colour of the first pixel
    "grey": (encoded(Image.new("L", (32, 32), 90)), (90, 90, 90)),
    "grey with alpha": (encoded(Image.new("LA", (32, 32), (90, 0))), (255, 255, 255)),
    "half transparent": (encoded(Image.new("RGBA", (32, 32), (0, 100, 0, 128))), (127, 177, 127)),
    "palette": (encoded(Image.new("RGB", (32, 32), (9, 200, 30)).quantize(8)), (9, 200, 30)),
    "palette with a transparent colour": (transparent_palette(), (255, 255, 255)),
    "black and white": (encoded(Image.new("1", (32, 32), 1)), (255, 255, 255)),
    "16 bits": (encoded(GREY_16), (128, 128, 128)),
    "16 bits, TIFF": (encoded(GREY_16, "TIFF"), (128, 128, 128)),
    "CMYK": (encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "CMYK, JPEG": (encoded(Image.new("CMYK", (32, 32), (0, 0, 0, 155)), "JPEG"), (100, 100, 100)),
    "animated GIF": (encoded(FIRST, "GIF", save_all=True, append_images=[SECOND]), (255, 0, 0)),
    "animated PNG": (encoded(FIRST, "PNG", save_all=True, append_images=[SECOND]), (255, 0, 0)),
}
BAD = {
    "cut off": (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "cut off"),
    "damaged": (damaged_png(), "damaged"),
    "empty": (b"", "empty file"),
    "text": (b"no picture", "not a picture"),
    "huge": (bomb(), "too large: over"),
    "tiny": (encoded(Image.new("RGB", (40, 8))), "too small: 40 x 8 pixels, expected 16"),
    "32 bits": (encoded(Image.fromarray(np.full((32, 32), 70_000, np.int32)), "TIFF"), "32-bit"),
    "floating point": (encoded(Image.fromarray(np.ones((32, 32), np.float32)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_pictures_of_every_kind_are_used(kind):
    data, color = GOOD[kind]
    image = decode(BytesIO(data))
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((0, 0)), color, atol=2)


def test_16_bits_are_scaled_not_cut():
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    pixels = np.asarray(decode(BytesIO(encoded(Image.fromarray(ramp)))))[..., 0]
    np.testing.assert_array_equal(pixels, np.rint(ramp / 257))


def test_exif_turns_a_picture_upright():
    image = Image.new("RGB", (40, 32), "red")
    image.paste("blue", (0, 0, 20, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture was taken with the camera on its side: what is left belongs on top
    upright = decode(BytesIO(encoded(image, "PNG", exif=exif)))
    assert upright.size == (32, 40)
    assert upright.getpixel((16, 2)) == (0, 0, 255)


def test_squares():
    image = Image.new("RGB", (90, 30), "red")
    image.paste("blue", (30, 0, 60, 30))
    assert (to_square(image, 16)[:, 3:-3] == (0, 0, 255)).all()
    squeezed = to_square(image, 30, crop="none")
    assert squeezed.shape == (30, 30, 3)
    assert squeezed[15, 2].tolist() == squeezed[15, 27].tolist() == [255, 0, 0]


def test_a_share_of_the_central_square():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(to_square(image, 20, crop=0.5), pixels[20:40, 10:30])
    np.testing.assert_array_equal(to_square(image, 16, crop=1), to_square(image, 16))


@pytest.mark.parametrize("kind", [k for k in BAD if k != "empty"])
def test_what_cannot_be_used_has_a_reason(kind):
    data, reason = BAD[kind]
    with pytest.raises(UnusablePictureError, match=reason):
        decode(BytesIO(data), min_size=16)


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
    """All of GOOD and BAD, in a folder or a zip file."""
    files = {f"good/{kind}.png": data for kind, (data, _) in GOOD.items()}
    files |= {f"bad/{kind}.JPG": data for kind, (data, _) in BAD.items()}
    files |= {"notes.txt": b"x", ".hidden.png": b"x", "__MACOSX/good/._grey.png": b"x"}
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return PictureSource(tmp_path / "a.zip")
    for name, data in files.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return PictureSource(tmp_path / "a")


@pytest.mark.parametrize("max_cache", [0, 10**9])
def test_the_good_are_used_and_the_bad_are_listed(source, max_cache, monkeypatch):
    monkeypatch.setattr(Pictures, "MAX_CACHE", max_cache)
    pictures = Pictures(source, source.names, 16)
    assert pictures.names == sorted(f"good/{kind}.png" for kind in GOOD)
    assert set(pictures.skipped) == {f"bad/{kind}.JPG" for kind in BAD}
    for kind, (_, reason) in BAD.items():
        assert pictures.skipped[f"bad/{kind}.JPG"].startswith(reason.split(":")[0])
    for i, name in enumerate(pictures.names):
        want = to_square(source.picture(name), 16)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(pictures))[i], want)


def test_strict_makes_the_first_an_error(source):
    with pytest.raises(ValueError, match=r"picture bad/.+ cannot be used: .+data\.strict=false"):
        Pictures(source, source.names, 16, strict=True)


def test_a_picture_that_changed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Pictures, "MAX_CACHE", 0)
    (tmp_path / "a.jpg").write_bytes(WHOLE_JPEG)
    pictures = Pictures(PictureSource(tmp_path), ["a.jpg"], 16)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match=r"a\.jpg has changed since the start"):
        pictures[0]


def test_damage_inside_a_zip_is_a_reason(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", encoded(Image.new("RGB", (32, 32))))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UnusablePictureError, match="damaged"):
        PictureSource(tmp_path / "a.zip").picture("a.png")


def test_folders_without_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no pictures"):
        PictureSource(tmp_path)
    for path in (tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="no folder and no whole zip"):
            PictureSource(path)


def test_a_colour_profile_does_no_harm():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = decode(BytesIO(encoded(Image.new("RGB", (32, 32), (10, 20, 30)), icc_profile=profile)))
    assert image.getpixel((0, 0)) == (10, 20, 30)
