"""The image generation test on the recorded faces: codes, pictures, scores and correlations."""

import numpy as np
import pytest
import torch

from ohlora_gan.directions.base import group_names
from ohlora_gan.editing.moves import move
from ohlora_gan.judging.figures import correlations, make_plan, passed
from ohlora_gan.latents.layers import MappingSplit1, MappingSplit2, W
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.scorers import MergedPropertyCNN
from ohlora_gan.names import EDITED_PROPERTIES
from tests.recordings import build_generator, recipe_state, state_of

LAYERS = {"w": W, "mapping_split1": MappingSplit1, "mapping_split2": MappingSplit2}


@pytest.fixture(scope="module")
def space(golden):
    settings, _ = golden("pm_corr")
    info, tensors = golden("generator_v9_256")
    generator = build_generator(info["constructor"], split=True)
    generator.load_state_dict(state_of(tensors), strict=True)
    scorer = MergedPropertyCNN()
    recipe = {k: settings["cnn"][k] for k in ("seed", "gain_conv", "gain_fc", "bias_amp")}
    layout = golden("property_cnns")[0]["networks"]["merged"]["tensors"]
    scorer.load_state_dict(recipe_state(layout, **recipe), strict=True)
    return FaceSpace(generator, scorer, batch_size=10, quantize=True)


@pytest.mark.golden
@pytest.mark.parametrize("layer_name", list(LAYERS))
@pytest.mark.parametrize("option", ["svm", "gradient"])
def test_scores_and_correlations(golden, space, layer_name, option):
    info, t = golden("pm_corr")
    layer = LAYERS[layer_name]()
    codes = space.codes(layer, t["in.z"], t["in.label"])
    assert np.abs(codes - t[f"out.code.{layer_name}"].numpy()).max() <= 1e-5
    moved = move(codes[0], t[f"in.vectors.{layer_name}"].numpy(), make_plan(EDITED_PROPERTIES, option).grid)
    scores = space.score_codes(layer, moved)
    assert np.abs(scores - t[f"out.{option}.{layer_name}.scores"][0].numpy()).max() <= 5e-3
    corrs = correlations(make_plan(EDITED_PROPERTIES, option).grid, scores)
    want = info["corr"][option][layer_name][0]
    for name, value in corrs.items():
        assert value == pytest.approx(want[name], abs=1e-3)
    assert passed(corrs, signed=False) == want["passed"]


@pytest.mark.golden
def test_unmodified_faces(golden, space):
    info, t = golden("pm_corr")
    scores = space.score_codes(W(), space.codes(W(), t["in.z"], t["in.label"]))
    assert np.abs(scores - t["out.unmodified_scores"].numpy()).max() <= 5e-3
    assert list(group_names(scores, info["medians"])) == info["group_names"]
    first = torch.from_numpy(space.codes(MappingSplit1(), t["in.z"][:1], t["in.label"][:1])[0])
    vectors, grid = t["in.vectors.mapping_split1"].numpy(), make_plan(EDITED_PROPERTIES).grid[:1]
    picture = space.images(MappingSplit1(), move(first.numpy(), vectors, grid))[0]
    off = np.abs(picture.astype(int) - t["out.svm.mapping_split1.image_combo0_z0"].numpy().astype(int))
    assert off.max() <= 1
    assert (off > 0).mean() <= 1e-3
