"""Property scores of parse maps: the recorded system's numbers, their meaning on known faces, their limits."""

import time
import tracemalloc
import warnings
from functools import cache

import numpy as np
import pytest

from ohlora_gan.data.datasets import fit_normalization
from ohlora_gan.data.parse_scores import MissingScoreWarning, score_maps, warn_of_missing
from ohlora_gan.names import PROPERTIES, Part
from ohlora_gan.world.face import FaceAttributes, sample_attributes
from ohlora_gan.world.painter import render_with_parse_map

SIZE = 224


def recorded(row: dict, generation: str) -> dict:
    """One map's recorded scores by property; a name of an error or None where the recorded system has none."""
    scores = {key.partition(".")[2]: value for key, value in row.items() if key.startswith(generation)}
    if generation == "v2":
        scores["eyes"], scores["pose"] = scores.pop("eyes_pose")
    scores["background_mean"], scores["background_std"] = row["background_mean_std"]
    return scores | {"hairstyle": row["hairstyle"]}


def golden_inputs(golden):
    info, tensors = golden("property_scores")
    return info, tensors["in.parse_maps"].numpy(), tensors["in.images_u8"].numpy()[info["image_index"]]


@pytest.mark.golden
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_scores_are_the_recorded_ones(golden, generation):
    info, maps, images = golden_inputs(golden)
    scores = score_maps(maps, images, generation)
    with pytest.warns(MissingScoreWarning) as caught:
        warn_of_missing(scores)
    assert len(caught) == 1
    assert list(scores) == list(PROPERTIES)
    num_missing = dict.fromkeys(PROPERTIES, 0)
    for i, row in enumerate(info["scores"]):
        for name, want in recorded(row, generation).items():
            if isinstance(want, int | float):
                assert scores[name][i] == pytest.approx(want, abs=1e-9), (name, info["map_names"][i])
            else:  # "error", "nan", "inf", None
                assert np.isnan(scores[name][i]), (name, info["map_names"][i])
                num_missing[name] += 1
    for name, num in num_missing.items():
        assert (f"{name} of {num}" in str(caught[0].message)) == (num > 0)


@pytest.mark.golden
@pytest.mark.filterwarnings("ignore::ohlora_gan.data.parse_scores.MissingScoreWarning")
@pytest.mark.parametrize("group", ["v1", "v2", "hairstyle"])
def test_normalised_scores_are_the_recorded_ones(golden, group):
    info, maps, images = golden_inputs(golden)
    chosen = info["normalized"][group]["map_indices"]
    names = ("hairstyle",) if group == "hairstyle" else PROPERTIES[:7]
    all_scores = score_maps(maps[chosen], images[chosen], "v1" if group == "v1" else "v2")
    scores = {name: all_scores[name] for name in names}
    normalised = fit_normalization(scores).apply(scores)
    for name in names:
        want = info["normalized"][group]["normalized"][f"{name}_score"]
        assert normalised[name] == pytest.approx(want, abs=1e-4)


@cache
def rendered(num: int) -> tuple[list[FaceAttributes], np.ndarray, np.ndarray]:
    """Attributes, maps and images of embedded faces."""
    attributes = [sample_attributes(5, i) for i in range(num)]
    images, maps = zip(*(render_with_parse_map(a, SIZE) for a in attributes), strict=True)
    return attributes, np.stack(maps), np.stack(images)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_scores_follow_the_true_attributes(generation):
    """Seen on 400 faces (v2): eyes .995, hair_color .981, hair_length .964, mouth .964, pose .972,
    background_mean .996, background_std .970, hairstyle .963; v1 is not below these, but its pose is -.365: it is the
    slope of the nose, which stands out of the face.
    """
    attributes, maps, images = rendered(100)
    scores = score_maps(maps, images, generation)
    for name in PROPERTIES if generation == "v2" else (name for name in PROPERTIES if name != "pose"):
        truth = [getattr(a, name) for a in attributes]
        assert np.corrcoef(scores[name], truth)[0, 1] > 0.94, name


def test_a_face_scores_the_same_in_any_company():
    _, maps, images = rendered(100)
    together = score_maps(maps, images)
    for i in (0, 63, 64, 99):
        alone = score_maps(maps[i : i + 1], images[i : i + 1])
        assert {name: values[i] for name, values in together.items()} == {n: v[0] for n, v in alone.items()}


def blank(num: int = 1) -> np.ndarray:
    return np.ones((num, SIZE, SIZE), dtype=np.uint8)


def black(maps: np.ndarray) -> np.ndarray:
    return np.zeros((*maps.shape, 3), np.uint8)


def test_no_maps_have_no_scores():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_maps(blank(0), np.zeros((0, SIZE, SIZE, 3), np.uint8))
    assert {name: values.shape for name, values in scores.items()} == dict.fromkeys(PROPERTIES, (0,))


def test_an_empty_map_has_documented_values():
    images = np.full((1, SIZE, SIZE, 3), 90, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_maps(blank(), images)
    values = {name: values[0] for name, values in scores.items()}
    assert values == dict(zip(PROPERTIES, (0.0, 127.5, 0.0, 0.0, 0.0, 192.0, 0.0, 0.45), strict=True))
    with pytest.warns(MissingScoreWarning, match=r"hair_color of 1, hair_length of 1, pose of 1 of 1 faces"):
        warn_of_missing(score_maps(blank(), images, "v1"))


def test_a_tilted_eye_is_measured_across_its_axis():
    maps = blank(2)
    for i in range(20):
        maps[0, 100:105, 60 + i] = Part.LEFT_EYE  # level: 20 wide, 4 from first to last row
        maps[1, 80 + i : 85 + i, 60 + i] = Part.LEFT_EYE  # the same columns sheared by 45 degrees
    eyes = score_maps(maps, black(maps))["eyes"]
    assert eyes[0] == pytest.approx(4 * 19 / np.hypot(19, 4))
    assert eyes[1] == pytest.approx(4 * 19 / np.hypot(19, 23))


def test_eyes_above_each_other_have_no_slope_and_a_missing_eye_slope_0():
    maps = blank(2)
    maps[:, 80:84, 100:110] = Part.LEFT_EYE
    maps[0, 120:124, 100:110] = Part.RIGHT_EYE
    scores = score_maps(maps, black(maps))
    with pytest.warns(MissingScoreWarning, match="pose of 1 of 2 faces"):
        warn_of_missing(scores)
    pose = scores["pose"]
    assert np.isnan(pose[0])
    assert pose[1] == 0


def test_a_leaning_nose_decides_the_first_generations_pose():
    maps = blank(2)
    for i in range(10):
        maps[0, 100 + i, 100 + i] = maps[1, 100 + i, 110 - i] = Part.NOSE
    maps[:, 150:160, 100:110] = Part.UPPER_LIP
    maps[1, 152:158, 100:110] = Part.INNER_MOUTH
    maps[:, :200, 10] = Part.HAIR
    scores = score_maps(maps, black(maps), "v1")
    assert scores["pose"] == pytest.approx([-1, 1])
    assert scores["mouth"].tolist() == [9, 9 + 5]
    assert scores["hair_length"].tolist() == [199, 199]


MAPS = blank(2)
IMAGES = np.zeros((2, SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("maps", "images", "generation", "message"),
    [
        (MAPS, IMAGES, "v3", "generation is 'v3', expected v1 or v2"),
        (MAPS.tolist(), IMAGES, "v2", "maps is a list, expected a numpy array"),
        (MAPS.astype(int), IMAGES, "v2", r"maps has dtype int64, expected uint8 .*astype"),
        (MAPS[0], IMAGES, "v2", r"maps has shape \[224, 224\], expected uint8 \[N, 224, 224\]"),
        (MAPS[:, ::2], IMAGES, "v2", r"maps has shape \[2, 112, 224\].*resize"),
        (MAPS, IMAGES.astype(np.float32), "v2", "images has dtype float32"),
        (MAPS, IMAGES.transpose(0, 3, 1, 2), "v2", r"images has shape \[2, 3, 224, 224\]"),
        (MAPS, IMAGES[:1], "v2", "2 maps but 1 images"),
    ],
)
def test_unusable_arguments(maps, images, generation, message):
    with pytest.raises(ValueError, match=message):
        score_maps(maps, images, generation)


def test_a_thousand_maps_take_seconds_and_little_memory():
    """Seen: .6 s of one core for 1,000 maps of faces, 30 MB on top of the maps."""
    _, maps, images = rendered(100)
    many = np.arange(1000) % len(maps)
    maps, images = maps[many], images[many]
    tracemalloc.start()
    score_maps(maps[:200], images[:200])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    start = time.process_time()
    score_maps(maps, images)
    assert time.process_time() - start < 10
