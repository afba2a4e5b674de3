"""From nothing to directions on a generator that nobody here wrote, the DCGAN of PyPI's gan_face_generate 1.1.1.

No labels: the face mesh scores, a network learns it, derivatives of that find directions, and the face mesh judges. It
needs MediaPipe (make landmarks), and the package, installed or as a wheel in the folder OHLORA_WHEELS names
(pip download --no-deps gan_face_generate==1.1.1).
"""

import importlib
import os
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import PROJECT

import ohlora_gan as og
from ohlora_gan.options import Distilling
from ohlora_gan.pipelines.distill import distil
from ohlora_gan.pipelines.find_vectors import find_vectors
from tests.test_configs import composed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with ``my_net.py`` as the docs have it; ``PYTHONPATH`` leads the programs started there."""
    pytest.importorskip("mediapipe", reason="needs make landmarks")
    folder = tmp_path_factory.mktemp("stranger")
    wheels = sorted(Path(os.environ.get("OHLORA_WHEELS", "none")).glob("gan_face_generate-1.1.1-*.whl"))
    if find_spec("gan_face_generate") is None and not wheels:
        pytest.skip("needs the wheel of gan_face_generate 1.1.1 in the folder that OHLORA_WHEELS names")
    if wheels:
        zipfile.ZipFile(wheels[0]).extractall(folder)
    page = (PROJECT / "docs" / "own_generator.md").read_text(encoding="utf-8")
    (folder / "my_net.py").write_text(page.partition("`my_net.py`:\n\n```python\n")[2].partition("```")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT / "src"), str(folder)]))
        importlib.invalidate_caches()
        yield folder
    for name in ("my_net", "gan_face_generate"):
        sys.modules.pop(name, None)


def test_faces_are_found_and_measured(folder):
    faces = og.load("my_net:dcgan", scorer="landmarks").sample(100)
    found = faces.scores.notna().all(axis=1)
    assert 0.9 < found.mean() <= 1
    assert list(faces.scores.columns) == ["eyes", "mouth", "smile", "turn", "tilt", "nod"]
    spread = faces.scores[found].std()
    assert spread.between(0.5, 2.5).all()  # a broken face makes an outlier of tilt and nod
    assert spread["turn"] == pytest.approx(1, abs=0.3)


def test_distilled_found_and_judged_by_landmarks(folder):
    """One command; what it distils is kept and told again at once."""
    small = ["n=400", "num_calibration=40", "test.num_latents=15", "test.num_saturation=4", "test.retest=false"]
    small += ["method.finder.num_jacobians=150", "metric.num_latents=16", "distill.n=4000", "distill.epochs=8"]
    words = ["checkpoint=my_net:dcgan", "scorer=landmarks", "layer=z", "method=mean_jacobian"]
    cfg = composed("find_vectors", *words, "properties=[mouth,turn]", *small, tmp_path=folder / "run")
    assert find_vectors(cfg) > 1.2  # the sum of two correlations, by the face mesh
    assert cfg.judge == "landmarks"
    found = distil("my_net:dcgan", "landmarks", Distilling(4000, 8))
    assert found.path == Path(cfg.scorer)
    assert found.figures["turn"]["r2"] > 0.7
    assert found.figures["mouth"]["r2"] > 0.4
