"""Imported nnU-Nets against nnU-Net's own predictor, trained and asked in an environment of its own.

``NNUNET_PYTHON`` names a Python with nnunetv2; else this one is taken, if it has it.

Measured with nnunetv2 2.8.1, two folds of each configuration, three volumes: largest difference of a probability 2.2e-4
(in 2-D; 1.2e-4 in 3-D; below 1e-6 in four of the six), all labels equal.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmr_models import zoo
from cmr_models.imported.importing import import_model
from cmr_models.imported.segmenter import ImportedSegmenter
from cmr_models.segmentation import segment_sax

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CASES = ("same", "finer", "thin")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = os.environ.get("NNUNET_PYTHON", sys.executable)
    if "NNUNET_PYTHON" not in os.environ and importlib.util.find_spec("nnunetv2") is None:
        pytest.skip("nnunetv2 is not installed; name a Python that has it in NNUNET_PYTHON")
    folder = tmp_path_factory.mktemp("nnunet")
    script = Path(__file__).with_name("nnunet_reference.py")
    done = subprocess.run([python, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_probabilities_and_labels_are_those_of_its_own_predictor(
    reference: Path, configuration: str, tmp_path: Path
) -> None:
    source = reference / "results" / "Dataset001_SAX" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    model, card = import_model(source, "imported", tmp_path)
    assert (card.task, card.licence, card.config["n_members"]) == ("segment_sax", "CC0-1.0", 2)
    runner = ImportedSegmenter(*zoo.load(model))
    codes = np.array(card.plan["codes"])
    for name in CASES:
        case = np.load(reference / f"{configuration}_{name}.npz")
        slice_mm, *pixel_mm = map(float, case["spacing_mm"])
        ours = runner.probabilities(case["volume"], (slice_mm, *pixel_mm))
        labels = segment_sax(case["volume"][None], tuple(pixel_mm), slice_mm, model=model)[0]
        difference = np.abs(ours - case["probabilities"]).max()
        equal = (labels == codes[case["labels"]]).mean()
        print(f"{configuration} {name}: {difference:.2g}, {100 * equal:.3f} %")
        theirs = case["probabilities"]
        assert np.ptp(ours[1:]) > 0.05  # a network that sees something, though a few steps may leave all background
        assert (ours[1:].argmax(0) == theirs[1:].argmax(0)).mean() > 0.999
        assert difference < 1e-3
        assert equal > 0.999
