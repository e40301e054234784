"""Which public data set a file belongs to, by its name and folders; which case it is of, and whether it is a label.

The layouts are those that the data sets unpack to:

    ACDC     training/patient001/{Info.cfg, patient001_4d.nii.gz, patient001_frame01.nii.gz, ..._frame01_gt.nii.gz}
    M&Ms     Training/Labeled/A0S9V9/A0S9V9_sa{,_gt}.nii.gz, and *Dataset_information*.csv above
    M&Ms-2   dataset/001/001_{SA,LA}_{ED,ES,CINE}{,_gt}.nii.gz, and dataset_information.csv above
    EMIDEC   Case_N006/{Images,Contours}/Case_N006.nii.gz, and "Case N006.txt" above
    MyoPS    train25/myops_training_101_{C0,DE,T2}.nii.gz, train25_myops_gd/myops_training_101_gd.nii.gz
    Rescan   test/scan_00_A/{sax_t,sax_gt_t,lax_2c_t,lax_4c_t}.nii.gz, train/A/s_0000/..., and *_metadata.csv above
    Kaggle   train/1/study/{sax_5,2ch_21,4ch_15}/*.dcm, and train.csv, validate.csv, solution.csv above
    landmark lax_2c/{images,masks}/0001__00.png, and lax_2c.csv above

Rescan is given out as pickle files, which are never read: it is what CineMA's preprocessing makes of them that is
understood here, with the volumes of the raw ``pickle/test_retest_100/labels.csv`` where that is found. Files in the
names of ukbb_cardiac and of CineMA's other preprocessed sets have labels but no table.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from tasks.sources.nifti_names import parse_name

_TAIL_PARTS: Final = 3


class Case(NamedTuple):
    """What a file is: of which data set, person, visit, in which folder all of the case lies, label or image."""

    data_set: str
    participant: str
    visit: str
    home: str
    is_label: bool


class _Layout(NamedTuple):
    data_set: str
    pattern: re.Pattern[str]
    levels: int = 1
    """How far above the file all files of a case lie."""


def _layout(data_set: str, pattern: str, levels: int = 1) -> _Layout:
    return _Layout(data_set, re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE if levels == 2 else 0), levels)


_NII: Final = r"\.(?:nii(?:\.gz)?|hdr|img)"
_LAYOUTS: Final = (
    _layout("acdc", rf"(?P<patient>patient\d+)_(?:4d|frame\d+)(?P<label>_gt)?{_NII}"),
    _layout("mnms2", rf"(?P<patient>\d{{3}})_(?:SA|LA)_(?:ED|ES|CINE)(?P<label>_gt)?{_NII}"),
    _layout("mnms", rf"(?P<patient>[A-Z]\d[A-Z]\d[A-Z]\d)_sa(?P<label>_gt)?{_NII}"),
    _layout("emidec", rf"(?P<patient>Case_[A-Z]\d+)/(?:Images|(?P<label>Contours))/(?P=patient){_NII}", 2),
    _layout("myops", rf"(?P<patient>myops_(?:training|test)_\d+)_(?:C0|DE|T2|(?P<label>gd)){_NII}", 2),
    _layout("rescan", rf"(?P<patient>[A-Z]/s_\d+)/(?:sax|lax_[234]c)(?P<label>_gt)?_t{_NII}"),
    _layout("rescan", rf"(?P<patient>scan_\d+)_(?P<visit>[A-Z]\d?)/(?:sax|lax_[234]c)(?P<label>_gt)?_t{_NII}"),
    _layout("ukbb", rf"(?:(?P<label>seg|label)_)?sa(?:_E[DS])?{_NII}"),
    _layout("cinema", rf"(?:(?P<patient>\w+)_)?(?:sax|lax_[234]c)_(?:ed|es|t)(?P<label>_gt)?{_NII}"),
)
_LANDMARK: Final = re.compile(r"(?P<view>lax_[24]c)/(?P<what>images|masks)/(?P<patient>[^/_]+)__(?P<frame>\d+)\.png$")
_KAGGLE: Final = re.compile(r"/(?P<case>\d+)/study/(?:sax|[24]ch)_\d+/[^/]+$")
_RAW_RESCAN: Final = re.compile(r"(?P<home>[^/]+)/(?:SAX|SAX_segs|2C|4C)\.pickle$")


class LandmarkImage(NamedTuple):
    """One PNG of the landmark layout."""

    view: str
    is_mask: bool
    participant: str
    frame: str


def tail(path: str) -> str:
    """The file's name with the folders that a layout may need."""
    return "/".join(PurePosixPath(path.replace("\\", "/")).parts[-_TAIL_PARTS:])


def case_of(path: str) -> Case:
    """The case that a NIfTI file is of; ``data_set`` is empty where the name belongs to no known layout."""
    end = tail(path)
    for layout in _LAYOUTS:
        match = layout.pattern.search(end)
        if match is None:
            continue
        groups = match.groupdict()
        home = str(PurePosixPath(path).parents[layout.levels - 1])
        named = groups.get("patient") or PurePosixPath(path).parent.name
        return Case(
            layout.data_set,
            named.replace("/", "_"),
            groups.get("visit") or "1",
            home,
            groups.get("label") is not None,
        )
    parsed, folder = parse_name(end), PurePosixPath(path).parent
    return Case("", parsed.patient or folder.name, "1", str(folder), not parsed.is_image)


def landmark_image(path: str) -> LandmarkImage | None:
    """What a PNG of the landmark layout is; None for any other."""
    match = _LANDMARK.search(tail(path))
    if match is None:
        return None
    return LandmarkImage(match["view"], match["what"] == "masks", match["patient"], match["frame"])


def kaggle_case(path: str) -> str:
    """Number of the case that a DICOM file of the Kaggle layout is of; empty for any other."""
    match = _KAGGLE.search(path)
    return match["case"] if match else ""


def is_pickle(path: str) -> bool:
    """Whether this is Rescan as it is given out."""
    return _RAW_RESCAN.search(tail(path)) is not None
