import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

from ohlora_gan.__main__ import main
from ohlora_gan.directions.arrays import arrays_of
from ohlora_gan.directions.base import REFERENCE_MEDIANS, all_group_names
from ohlora_gan.directions.files import direction_path, load_directions, write_directions
from ohlora_gan.directions.foreign import import_boundaries, import_tables, mark_as_ours
from ohlora_gan.editing.given import read_given
from ohlora_gan.editing.moves import move
from ohlora_gan.judging.figures import PASS_THRESHOLDS
from ohlora_gan.judging.rescoring import measure_response, turn_up
from ohlora_gan.latents.layers import MappingSplit2, W
from ohlora_gan.latents.saved import SavedLatents, read_cases, read_latents, read_medians, write_latents
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models import checkpoint
from tests import tiny

SIZE = 32  # of mapping_split2 of the tiny generator
EDITED = ("eyes", "mouth", "pose")


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    generator = checkpoint.save(folder / "g.safetensors", {"generator": tiny.generator()})
    return str(generator), str(checkpoint.save(folder / "s.safetensors", {"scorer": tiny.scorer()}))


@pytest.fixture
def folder(tmp_path):
    write_directions(tmp_path / "vectors", unit(3, 16, SIZE), all_group_names(), "mapping_split2")
    return tmp_path / "vectors"


def arguments(folder, networks, *more):
    output = str(Path(folder).with_name("out") / "v.safetensors")
    return [str(folder), "--layer", "mapping_split2", "--checkpoint", networks[0], "--output", output, *more]


def of_a_run(folder):
    """Marks a folder as find_vectors.py does."""
    return mark_as_ours(folder, import_tables(folder, "mapping_split2", SIZE, "up"))


def test_a_folder_becomes_a_file_that_edits(folder, networks, capsys):
    assert main(["import-vectors", *arguments(folder, networks, "--sign", "down")]) == 0
    said = capsys.readouterr().out
    for words in (
        "48 directions",
        "32 values at mapping_split2",
        "groups: hhhh, hhhl",
        "the published ones",
        "all turned",
    ):
        assert words in said
    found = load_directions(folder.with_name("out") / "v.safetensors")
    np.testing.assert_allclose(found.directions, -unit(3, 16, SIZE), atol=1e-6)
    assert found.provenance["generator"] == checkpoint.weights_hash(tiny.generator())
    space = FaceSpace(tiny.generator(), tiny.scorer())
    codes = space.codes(MappingSplit2(), *space.latents("t", range(1)))
    moved = move(codes[0], found.direction(codes[0], "hlhl"), [[1.0, 0, 0]])
    assert np.abs(space.images(MappingSplit2(), moved) - space.images(MappingSplit2(), codes)).any()


def test_measured_signs_do_not_depend_on_those_of_the_files(tmp_path, networks, capsys):
    medians = ("--medians", "hat=0.5", "--scorer", networks[1], "--sign", "measure")
    found = []
    for name, sign in (("a", 1), ("b", -1)):
        write_directions(tmp_path / name / "v", sign * unit(2, 2, SIZE), ["h", "l"], "mapping_split2", EDITED[:2])
        assert main(["import-vectors", *arguments(tmp_path / name / "v", networks, *medians)]) == 0
        found.append(load_directions(tmp_path / name / "out" / "v.safetensors"))
        assert "of 4 directions turned, by their response on 100 latents" in capsys.readouterr().out
    np.testing.assert_array_equal(found[0].directions, found[1].directions)
    assert found[0].provenance["imported"]["sign"] == "measure"
    assert found[0].medians == {"hat": 0.5}
    assert np.min(found[0].provenance["sign_response"]) > 0
    space = FaceSpace(tiny.generator(), tiny.scorer())
    response, error = measure_response(space, MappingSplit2(), found[0])
    assert (response > 0).all()
    assert (error > 0).all()
    assert turn_up(space, MappingSplit2(), found[0])[1].startswith("0 of 4")


def test_directions_of_a_run_are_left_as_they_are(folder, networks, capsys):
    of_a_run(folder)
    assert main(["import-vectors", *arguments(folder, networks)]) == 0
    assert "signs: left as they are, since a run of this project wrote them" in capsys.readouterr().out
    np.testing.assert_allclose(load_directions(folder.with_name("out") / "v.safetensors").directions, unit(3, 16, SIZE))


def test_a_scorer_measures_what_it_knows(tmp_path, networks, capsys):
    """Boundaries that go the other way are turned, and named; what the scorer does not know stays as it is."""
    space, output = FaceSpace(tiny.generator(), tiny.scorer()), tmp_path / "v.safetensors"
    for name, vector in (("eyes", unit(16)), ("age", unit(16, seed=1))):
        np.save(tmp_path / f"{name}.npy", vector)
    found = import_boundaries([*arrays_of(tmp_path / "eyes.npy")], generator=tiny.generator())
    rises = measure_response(space, W(), found, 100)[0][0, 0]
    np.save(tmp_path / "eyes.npy", -np.sign(rises) * unit(16))
    given = [str(tmp_path), "--checkpoint", networks[0], "--output", str(output)]
    assert main(["import-vectors", *given, "--scorer", networks[1]]) == 0
    said = capsys.readouterr().out
    assert "1 of 1 directions turned, by their response on 100 latents: eyes" in said
    assert "age: not measured by the scorer, left as they are" in said
    expected = [unit(16, seed=1), np.sign(rises) * unit(16)]
    np.testing.assert_allclose(load_directions(output).directions[:, 0], expected, atol=1e-6)
    (tmp_path / "eyes.npy").unlink()
    assert main(["import-vectors", *given, "--scorer", networks[1]]) == 0
    assert "left as they are, the scorer measures none of age" in capsys.readouterr().out


def test_boundaries_by_name_and_by_file(tmp_path, networks, capsys):
    vectors = unit(2, SIZE)
    np.save(tmp_path / "a.npy", 2 * vectors[:1])
    np.save(tmp_path / "smile_boundary.npy", vectors[1])
    sources = [f"eyes={tmp_path / 'a.npy'}", str(tmp_path / "smile_boundary.npy")]
    assert main(["import-vectors", *sources, *arguments(tmp_path / "x", networks)[1:]]) == 0
    said = capsys.readouterr().out
    assert "lengths in the files: eyes 2, smile 1; each direction was divided by its own" in said
    assert "left as they are, since boundaries point to where the attribute is present" in said
    found = load_directions(tmp_path / "out" / "v.safetensors")
    assert (found.properties, found.group_names, found.medians) == (("eyes", "smile"), ["all"], {})
    np.testing.assert_allclose(found.directions[:, 0], vectors, atol=1e-6)
    assert main(["import-vectors", sources[0], f"eyes={sources[1]}", *arguments(tmp_path / "x", networks)[1:]]) == 2
    assert "are both named 'eyes'" in capsys.readouterr().err


def test_latents_become_a_file(tmp_path, networks, capsys):
    latents = SavedLatents(unit(2, 16), unit(2, 7), ["hh", "ll"], [0, 4], {"eyes": [0.95, 0.93]})
    _, values, groups = write_latents(tmp_path, latents, "w", "mixed")
    output = tmp_path / "new" / "latents.safetensors"
    given = ["--latents", str(values), "--groups", str(groups), "--checkpoint", networks[0], "--output", str(output)]
    assert main(["import-vectors", *given]) == 0
    assert "2 latents: z of 16 and label of 7 values\ngroups: hh 1, ll 1" in capsys.readouterr().out
    np.testing.assert_array_equal(read_latents(output).z, latents.z)
    assert main(["import-vectors", *given[:4]]) == 2
    assert "has 23 columns, expected 519" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layer", "w"], "no direction files of layer 'w'"),
        (["--layer", "x"], "layer is 'x'"),
        (["--sign", "measure"], "give --checkpoint and --scorer"),
        (["--scorer", "property_cnn", "--sign", "up"], "only measured signs need one"),
        ([], "does not say whether its vectors raise or lower their property: give --sign up or down"),
        (["--medians", "a=1,b"], "--medians has 'b'"),
        (["--medians", "a=1", "--sign", "up"], "4 letters but 1 medians"),
        (["--medians", "none.csv"], "none.csv cannot be read"),
        (["--checkpoint", "v1"], "needs a generator with a split (v9) mapping"),
        (["--checkpoint", "v9"], "vectors have 32 values, but layer 'mapping_split2' of the given generator has 512"),
        (["--groups", "g.csv"], "--groups goes with --latents"),
        (["--latents", "z.csv"], "--latents goes with"),
    ],
)
def test_mistakes_end_in_one_sentence(folder, networks, more, message, capsys):
    assert main(["import-vectors", *arguments(folder, networks, *more)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")
    assert message in said[-1]


def test_sources_of_no_kind(folder, networks, tmp_path, capsys):
    for sources in ([], [str(folder), str(folder)], [str(folder), "a.npy"]):
        assert main(["import-vectors", *sources, *arguments(folder, networks)[1:]]) == 2
        assert "expected one folder, or one or several files (.npy, .npz" in capsys.readouterr().err
    assert main(["import-vectors", str(tmp_path), *arguments(folder, networks)[1:]]) == 2
    assert "holds no direction files" in capsys.readouterr().err


def test_a_folder_is_no_output(tmp_path, capsys):
    assert main(["import-vectors", "x.npy", "--layer", "w", "--output", str(tmp_path)]) == 2
    assert f"--output {tmp_path} is a folder: name a file" in capsys.readouterr().err


def test_unknown_properties_cannot_be_measured(networks, tmp_path, capsys):
    np.save(tmp_path / "smile.npy", unit(SIZE))
    more = ("--sign", "measure", "--scorer", networks[1])
    assert main(["import-vectors", str(tmp_path / "smile.npy"), *arguments(tmp_path / "x", networks, *more)[1:]]) == 2
    assert "the scorer does not measure smile but eyes, hair_color" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reference():
    """Oh-LoRA's files: ``OHLORA_REFERENCE``, by default ``shared/reference`` beside the project."""
    folder = Path(os.environ.get("OHLORA_REFERENCE") or PROJECT.parent / "shared" / "reference")
    if not folder.is_dir():
        pytest.skip(f"no published files in {folder}: set OHLORA_REFERENCE to their folder")
    return folder


def of_their_size():
    """Small maps, and latents of the published sizes."""
    return tiny.generator(z_dim=512, w_dim=512, mapping_dim=512)


def test_published_directions_edit_a_net_of_their_size(reference, tmp_path):
    source, output = reference / "vectors_mapping_split2", tmp_path / "v.safetensors"
    net = checkpoint.save(tmp_path / "net.safetensors", {"generator": of_their_size()})
    given = [str(source), "--layer", "mapping_split2", "--checkpoint", str(net), "--output", str(output)]
    assert main(["import-vectors", *given, "--medians", str(reference / "property_scores_mean_and_median.csv")]) == 0
    found = load_directions(output)
    assert (found.directions.shape, found.group_names) == ((3, 16, 1024), all_group_names())
    row = direction_path(source, "mouth", "mapping_split2", "hllh").read_text().splitlines()[1]
    published = np.array(row.split(",")[1:], dtype=np.float64)
    assert np.linalg.norm(published) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.direction(np.zeros(1024), "hllh")[1], -published, atol=1e-5)
    assert found.medians == REFERENCE_MEDIANS
    space = FaceSpace(of_their_size())
    codes = space.codes(MappingSplit2(), *space.latents("t", range(1)))
    moved = move(codes[0], found.direction(codes[0], "hllh"), [[0, 0, 0], [0, 5.0, 0]])
    images = space.images(MappingSplit2(), moved).astype(int)
    assert np.abs(images[1] - images[0]).mean() > 1


@pytest.mark.parametrize(("option", "layer", "n"), [("mixed", "mapping_split1", 22), ("svm_ms2", "mapping_split2", 8)])
def test_published_latents_are_those_that_passed(reference, option, layer, n):
    folder = reference / "latents"
    latents = read_latents(
        folder / f"ohlora_z_vectors_{option}.csv", folder / f"ohlora_{layer}_group_names_{option}.csv"
    )
    assert (latents.z.shape, latents.label.shape) == ((n, 512), (n, 7))
    latents.check(of_their_size())
    for name, least in PASS_THRESHOLDS.items():
        assert (np.abs(latents.corrs[name]) >= least).all()
    # Found by SVM they lower the score, by gradient they raise it.
    assert (latents.corrs["mouth"] < 0).all()
    assert (latents.corrs["eyes"] > 0).all() == (option == "mixed")


def test_published_results_are_read(reference):
    for name, num_passed in (("mixed_160K", 43), ("svm_ms2_240K", 38)):
        table = read_cases(reference / f"test_result_{name}.csv")
        assert (len(table.cases), table.passed.sum()) == (2000, num_passed)
        enough = [np.abs(table.corrs[prop]) >= least for prop, least in PASS_THRESHOLDS.items()]
        np.testing.assert_array_equal(np.all(enough, axis=0), table.passed)
    medians = reference / "property_scores_mean_and_median.csv"
    assert read_medians(medians) == REFERENCE_MEDIANS


def test_damaged_copies_of_published_files(reference, tmp_path, capsys):
    source = reference / "vectors_mapping_split2"
    path = direction_path("", "pose", "mapping_split2", "lhlh").name
    text = (source / path).read_text()
    first = text.splitlines()[1].split(",")[1]
    damaged = {
        "is it cut off?": text[: len(text) - 500],
        "the last line does not end": text[:-4],
        "have different sizes [1000, 1024]": "\n".join(",".join(x.split(",")[:1001]) for x in text.splitlines()) + "\n",
        "line 2, column '0': 'nan'": text.replace(first, "nan", 1),
        "line 2, column '0': 'text'": text.replace(first, "text", 1),
        "a vector of length": text.replace(first, "3.0", 1),
        "expected '', '0', '1'": text.replace(",0,1", ",a,b", 1),
        "holds 0 lines": "",
    }
    copy, output = tmp_path / "copy", tmp_path / "v.safetensors"
    shutil.copytree(source, copy, copy_function=shutil.copyfile)
    copy.chmod(0o755)
    for message, content in damaged.items():
        (copy / path).write_text(content)
        assert main(["import-vectors", str(copy), "--layer", "mapping_split2", "--output", str(output)]) == 2
        assert message in capsys.readouterr().err
    (copy / path).rename(copy / path.replace("lhlh", "lxlh"))
    assert main(["import-vectors", str(copy), "--layer", "mapping_split2", "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert "is missing (and 2 more), expected one file a property and group" in said
    assert "one of 'lhlh', 'lxlh'" in said
    assert not output.exists()


@pytest.mark.parametrize(
    ("shape", "more", "said"),
    [
        ((8, 16), [], "1 latents: w of 16 values, one for each of 8 layers"),
        ((8, 16), ["--layer", "w"], "8 latents: w of 16 values\n"),
        ((3, 23), [], "3 latents: z of 16 and label of 7 values"),
    ],
)
def test_latents_of_an_encoder(tmp_path, networks, capsys, shape, more, said):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "encoded.npy", array)
    output = tmp_path / "latents.safetensors"
    given = ["--latents", f"{tmp_path / 'encoded.npy'}", "--checkpoint", networks[0], "--output", f"{output}"]
    assert main(["import-vectors", *given, *more]) == 0
    assert said in capsys.readouterr().out
    found = read_given(output, None)
    values = np.hstack([found.z, found.label]) if isinstance(found, SavedLatents) else found.w
    np.testing.assert_array_equal(values.reshape(shape), array)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "may be z or w or wplus: say which"),
        (["--layer", "mapping_split2"], "--layer is mapping_split2, but latents are z, w or wplus"),
        (["--layer", "w", "--checkpoint", "v9"], "expected z [N, 64]"),
    ],
)
def test_latents_that_are_not_known_end_in_one_sentence(tmp_path, capsys, more, said):
    np.save(tmp_path / "encoded.npy", np.ones((18, 512), np.float32))
    output = tmp_path / "latents.safetensors"
    assert main(["import-vectors", "--latents", f"{tmp_path / 'encoded.npy'}", "--output", f"{output}", *more]) == 2
    assert said in capsys.readouterr().err
    assert not output.exists()
