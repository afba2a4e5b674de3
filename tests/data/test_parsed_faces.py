import numpy as np
import pytest
from PIL import Image

from ohlora_gan.data.datasets import ParseFolder
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.painter import render_with_parse_map


def save_pair(folder, number, size=224, face_suffix=".png", palette=False, index=0):
    """An embedded face and its map under the layout's names; returns both arrays."""
    image, codes = render_with_parse_map(sample_attributes(1, index), size)
    parsed = Image.fromarray(codes)
    if palette:
        parsed.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    parsed.save(folder / f"parsing_{number:06d}.png")
    Image.fromarray(image).save(folder / f"face_{number:06d}{face_suffix}")
    return codes, image


@pytest.mark.parametrize("palette", [False, True])
def test_pairs_come_in_order_and_unchanged(tmp_path, palette):
    saved = {number: save_pair(tmp_path, number, palette=palette, index=number) for number in (12, 3)}
    (tmp_path / "notes.txt").write_text("not ours")
    folder = ParseFolder(tmp_path)
    read = list(folder)
    assert [number for number, _, _ in read] == [3, 12]
    for number, codes, image in read:
        assert np.array_equal(codes, saved[number][0])
        assert np.array_equal(image, saved[number][1])
    assert [path.name for path in folder.faces.values()] == ["face_000003.png", "face_000012.png"]
    assert not folder.skipped


def test_other_sizes_are_resized_without_mixing_codes(tmp_path):
    codes, image = save_pair(tmp_path, 1, size=320, face_suffix=".jpg")
    [(_, small, face)] = list(ParseFolder(tmp_path))
    assert small.shape == (224, 224)
    assert face.shape == (224, 224, 3)
    assert set(np.unique(small)) <= set(np.unique(codes))
    assert np.mean(small == 10) == pytest.approx(np.mean(codes == 10), abs=0.01)
    assert face.mean() == pytest.approx(image.mean(), abs=1)


def spoil(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_what_cannot_be_used_is_listed_with_the_reason(tmp_path, caplog):
    for number in range(8):
        save_pair(tmp_path, number)
    (tmp_path / "face_000001.png").unlink()
    (tmp_path / "parsing_000002.png").unlink()
    spoil(tmp_path / "face_000003.png", 0.5)
    (tmp_path / "parsing_000004.png").write_text("no picture")
    Image.fromarray(np.full((224, 224), 200, np.uint8)).save(tmp_path / "parsing_000005.png")
    Image.new("RGB", (224, 224)).save(tmp_path / "parsing_000006.png")
    Image.new("RGB", (224, 224)).save(tmp_path / "face_000007.jpg")
    folder = ParseFolder(tmp_path)
    assert [number for number, _, _ in folder] == [0, 7]
    reasons = {
        "parsing_000001.png": "no face",
        "face_000002.png": "no parse map",
        "face_000003.png": "truncated",
        "parsing_000004.png": "cannot identify",
        "parsing_000005.png": "code 200: expected class codes from 0 to 12",
        "parsing_000006.png": "mode RGB",
        "face_000007.jpg": "face_000007.png has the same number and is used instead",
    }
    assert folder.skipped.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in folder.skipped[name]
    assert "7 files" in caplog.text
    assert len(list(folder)) == 2
    assert len(folder.skipped) == 7


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_damaged_face_never_stops_the_reading(tmp_path, suffix):
    save_pair(tmp_path, 0)
    save_pair(tmp_path, 1, size=64, face_suffix=suffix)
    path = tmp_path / f"face_000001{suffix}"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for length in generator.integers(0, len(whole), 40):
        path.write_bytes(whole[:length] + generator.bytes(20))
        folder = ParseFolder(tmp_path)
        assert next(iter(folder))[0] == 0
        assert sum(1 for _ in folder) + len(folder.skipped) == 2


def test_folders_without_faces(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        ParseFolder(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no pair such as .*: 0 maps and 0 faces"):
        ParseFolder(tmp_path)
    save_pair(tmp_path, 1)
    (tmp_path / "parsing_000001.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"none of 1 pairs.*parsing_000001\.png.*cannot identify"):
        list(ParseFolder(tmp_path))
