"""Weights by ``hf://``: a stand-in for the Hub on this machine, its cache, and what goes wrong."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

from ohlora_gan.models import checkpoint, hub, zoo
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.pipelines.runs import SpaceSettings, read_origins, write_origins
from tests import tiny

pytest.importorskip("huggingface_hub")

COMMITS = {"main": "a" * 40, "v2": "b" * 40}


class StandIn(BaseHTTPRequestHandler):
    """Serves ``me/faces``: ``net/g.safetensors`` at each of `COMMITS`, and nothing else."""

    contents: dict[str, bytes] = {}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.asked.append(self.path)
        owner, name, _, revision, *file = self.path.strip("/").split("/")
        commit = COMMITS.get(revision, revision)
        error = None
        if (owner, name) != ("me", "faces"):
            error = "RepoNotFound"
        elif commit not in self.contents:
            error = "RevisionNotFound"
        elif file != ["net", "g.safetensors"]:
            error = "EntryNotFound"
        if error:
            self.send_response(404)
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        content = self.contents[commit]
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The generators of the stand-in by their revision; the cache is an empty folder."""
    nets = {revision: tiny.generator(seed=seed) for seed, revision in enumerate(COMMITS)}
    for revision, net in nets.items():
        path = checkpoint.save(tmp_path / "made.safetensors", {"generator": net})
        StandIn.contents[COMMITS[revision]] = path.read_bytes()
    server = HTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    StandIn.asked.clear()
    yield nets
    server.shutdown()
    server.server_close()


def point_at(monkeypatch, endpoint, cache):
    from huggingface_hub.file_download import hf_hub_download as real

    def download(*names, **more):
        return real(*names, **more, endpoint=endpoint, cache_dir=cache)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)


def same(found, wanted):
    return all(torch.equal(value, wanted.state_dict()[name]) for name, value in found.state_dict().items())


def test_a_file_of_the_hub_is_a_checkpoint_like_any_other(served):
    assert same(zoo.open_generator("hf://me/faces/net/g.safetensors"), served["main"])
    assert same(zoo.open_generator("hf://me/faces/net/g.safetensors@v2"), served["v2"])
    assert same(zoo.open_generator(f"hf://me/faces/net/g.safetensors@{COMMITS['v2']}"), served["v2"])
    with pytest.raises(CheckpointError, match="holds a generator network, expected a scorer"):
        zoo.open_scorer("hf://me/faces/net/g.safetensors")


def test_a_commit_is_fetched_once_and_opens_without_the_hub(served, tmp_path, monkeypatch):
    name = f"hf://me/faces/net/g.safetensors@{COMMITS['main']}"
    zoo.open_generator(name)
    assert StandIn.asked
    StandIn.asked.clear()
    zoo.open_generator(name)
    assert StandIn.asked == []
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")  # where nothing listens
    assert same(zoo.open_generator(name), served["main"])
    with pytest.raises(CheckpointError, match="is not in the cache, and the Hub cannot be reached"):
        zoo.open_generator(f"hf://me/faces/net/g.safetensors@{COMMITS['v2']}")


def test_a_run_keeps_the_commit(served, tmp_path):
    write_origins(tmp_path, {"checkpoint": "hf://me/faces/net/g.safetensors", "scorer": "property_cnn"})
    kept = read_origins(tmp_path)["checkpoint"]
    assert kept.name == f"hf://me/faces/net/g.safetensors@{COMMITS['main']}"
    assert kept.sha256 == hashlib.sha256(StandIn.contents[COMMITS["main"]]).hexdigest()
    settings = SpaceSettings.of({"folder": tmp_path})
    assert settings.checkpoint == kept.name
    assert json.loads((tmp_path / "made_from.json").read_text())["checkpoint"]["path"] is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf://me/faces", "expected hf://OWNER/NAME/FILE, or hf://OWNER/NAME/FILE@REVISION"),
        ("hf://me/faces/net/g.safetensors@", "cannot be read, expected hf://OWNER/NAME/FILE"),
        ("hf://me/nobody/g.safetensors", "there is no repository me/nobody, or it is private"),
        ("hf://me/faces/net/g.safetensors@v9", "me/faces has no revision v9: give a branch, a tag or a commit"),
        ("hf://me/faces/net/no.safetensors", "me/faces has no file net/no.safetensors"),
    ],
)
def test_what_cannot_be_had_is_told(served, name, told):
    with pytest.raises(CheckpointError, match=told.replace(".", r"\.")) as error:
        zoo.open_generator(name)
    assert "\n" not in str(error.value)


def test_a_damaged_copy_is_refused(served):
    path = hub.fetch("hf://me/faces/net/g.safetensors")
    with path.resolve().open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with pytest.raises(CheckpointError, match="is damaged in the cache: delete"):
        zoo.open_generator("hf://me/faces/net/g.safetensors")


def test_git_names_a_content():
    assert hub.git_hash(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_hydra_reads_such_a_name():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    name = f"hf://me/faces/net/g.safetensors@{COMMITS['v2']}"
    assert OverridesParser.create().parse_override(f"checkpoint={name}").value() == name
