import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ohlora_gan.models import checkpoint
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.zoo import open_checkpoint
from ohlora_gan.pipelines.checks import open_parents, start_gan
from tests import tiny


def same_state(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_round_trip_keeps_weights_config_and_description(tmp_path):
    g, d = tiny.generator(), tiny.discriminator()
    networks = {"generator": g, "discriminator": d}
    path = checkpoint.save(tmp_path / "x.safetensors", networks, stage="v9", seed=0, parent="ab")
    loaded = checkpoint.load(path)
    assert loaded.info == {"stage": "v9", "seed": 0, "parent": "ab"}
    assert same_state(loaded.build("generator"), g)
    assert same_state(loaded.build("discriminator"), d)
    assert loaded.build("generator").config == g.config


def test_half_storage_halves_the_file_and_gives_float32_back(tmp_path):
    g = tiny.generator()
    full = checkpoint.save(tmp_path / "full.safetensors", {"generator": g})
    half = checkpoint.save(tmp_path / "half.safetensors", {"generator": g}, half=True)
    assert half.stat().st_size < 0.7 * full.stat().st_size
    rebuilt = checkpoint.load(half).build("generator")
    for key, value in g.state_dict().items():
        got = rebuilt.state_dict()[key]
        assert got.dtype == value.dtype
        torch.testing.assert_close(got, value, rtol=1e-3, atol=1e-3)


def test_failed_save_leaves_the_old_file(tmp_path):
    path = checkpoint.save(tmp_path / "x.safetensors", {"generator": tiny.generator()}, seed=1)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        checkpoint.save(path, {"generator": tiny.generator()}, seed=object())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "does not exist"),
        (lambda p: p.write_bytes(p.read_bytes()[:2000]), "damaged or cut off"),
        (lambda p: save_file({"a": torch.zeros(1)}, p), "no ohlora_gan description"),
    ],
)
def test_unusable_files_are_named(tmp_path, damage, message):
    path = checkpoint.save(tmp_path / "x.safetensors", {"generator": tiny.generator()})
    damage(path)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path)


def test_a_description_cannot_name_foreign_classes(tmp_path):
    path = tmp_path / "x.safetensors"
    description = {"format": 1, "networks": {"generator": {"class": "os.system", "config": {"command": "true"}}}}
    save_file({"generator.a": torch.zeros(1)}, path, metadata={"ohlora_gan": json.dumps(description)})
    with pytest.raises(CheckpointError, match=r"os\.system"):
        checkpoint.load(path).build("generator")


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_foreign_file_with_code_is_refused_and_does_not_run(tmp_path):
    trace, path = tmp_path / "ran", tmp_path / "evil.pth"
    with path.open("wb") as file:
        pickle.dump({"generator": Runs(str(trace))}, file)
    with pytest.raises(CheckpointError, match="could run code"):
        open_checkpoint(path)
    torch.save({"generator": Runs(str(trace))}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        open_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("label_dim", [0, 7])
def test_genforce_dict_is_read_by_shapes(tmp_path, label_dim, split):
    g, smooth = tiny.generator(label_dim, split), tiny.generator(label_dim, split, seed=9)
    d, path = tiny.discriminator(label_dim), tmp_path / "model.pth"
    networks = {"generator": g, "generator_smooth": smooth, "discriminator": d}
    torch.save({name: network.state_dict() for name, network in networks.items()}, path)
    loaded = open_checkpoint(path)
    assert loaded.build("generator").config == g.config
    assert same_state(loaded.build("generator"), g)
    assert same_state(loaded.build(loaded.generator_name), smooth)
    assert same_state(loaded.build("discriminator"), d)


def test_flat_state_dicts_of_both_networks_start_a_stage(tmp_path):
    g, d = tiny.generator(split=False), tiny.discriminator()
    torch.save(g.state_dict(), tmp_path / "gen_v1.pth")
    torch.save(d.state_dict(), tmp_path / "dis_v1.pth")
    parent, parent_hash = open_parents([tmp_path / "gen_v1.pth", tmp_path / "dis_v1.pth"])
    v9, v9_d = tiny.generator(seed=5), tiny.discriminator(seed=6)
    new = start_gan("finetune_v9", v9, v9_d, parent)
    assert sorted(new["generator"]) == [
        "mapping.dense_new0.bias", "mapping.dense_new0.weight", "mapping.dense_new1.bias", "mapping.dense_new1.weight",
    ]  # fmt: skip
    assert new["discriminator"] == []
    assert same_state(v9_d, d)
    assert torch.equal(v9.mapping.dense7.weight, g.mapping.dense7.weight)
    assert len(parent_hash) == 64
    with pytest.raises(CheckpointError, match="no discriminator"):
        start_gan("finetune_v9", v9, v9_d, open_parents(tmp_path / "gen_v1.pth")[0])


def test_an_unconditional_pair_is_the_same_in_v1_while_labels_are_zeros():
    before, before_d = tiny.generator(0, False), tiny.discriminator(0)
    parent = checkpoint.Checkpoint({"generator": before.state_dict(), "discriminator": before_d.state_dict()}, {})
    after, after_d = tiny.generator(split=False, seed=3), tiny.discriminator(seed=4)
    start_gan("finetune_v1", after, after_d, parent)
    z = torch.randn(5, before.z_dim, generator=torch.Generator().manual_seed(0))
    images = before(z)
    torch.testing.assert_close(after(z), images, rtol=0, atol=2e-4)
    torch.testing.assert_close(after_d(images), before_d(images), rtol=0, atol=1e-5)


def test_unconditional_into_v1_leaves_what_the_label_touches():
    parent = checkpoint.Checkpoint(
        {"generator": tiny.generator(0, False).state_dict(), "discriminator": tiny.discriminator(0).state_dict()}, {}
    )
    new = start_gan("finetune_v1", tiny.generator(split=False, seed=3), tiny.discriminator(seed=4), parent)
    assert sorted(new["generator"]) == ["mapping.dense0.weight", "mapping.label_weight"]
    assert new["discriminator"] == ["layer8.weight"]  # the bias has the same shape and is kept


def test_what_does_not_fit_is_listed_and_nothing_is_loaded():
    network, tensors = tiny.generator(), dict(tiny.generator(seed=8).state_dict())
    before = {k: v.clone() for k, v in network.state_dict().items()}
    del tensors["mapping.dense3.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["synthesis.layer1.bias"] = torch.zeros(99)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_strictly(network, tensors, "file")
    for word in ("missing: mapping.dense3.bias", "left over: extra", "synthesis.layer1.bias [99] instead of [8]"):
        assert word in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_grown_partly_is_refused(tmp_path):
    g = tiny.generator()
    g.synthesis.lod.fill_(1.5)
    torch.save(g.state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"1\.5"):
        open_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"weights": {"a": torch.zeros(1)}}, {"generator": {"a": torch.zeros(1)}}]
)
def test_other_torch_files_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"expected|lacks"):
        open_checkpoint(tmp_path / "x.pth")


def test_missing_name_lists_what_is_shipped():
    with pytest.raises(CheckpointError, match="shipped model"):
        open_checkpoint("no_such_model")
