"""A simulated study packaged as UK Biobank does: one zip for each field, no folders, and an irregular manifest."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import xarray as xr

from cmr_models import contracts
from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.dicom import (
    Series,
    Session,
    encode_series,
    flow_series,
    join_series,
    mapping_series,
    new_uid,
    result_series,
    scout_series,
    series_of_view,
)
from cmr_models.simulate.imaging import heart_states, simulate_view
from cmr_models.simulate.settings import ImagingSettings

SAX_FIELD, LAX_FIELD = 20209, 20208
STUDY_VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c")
_LAX_NAMES = {
    "lax_2c": "CINE_segmented_LAX_2Ch",
    "lax_3c": "CINE_segmented_LAX_3Ch",
    "lax_4c": "CINE_segmented_LAX_4Ch",
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZIP_TIME = (2014, 5, 1, 9, 0, 0)

Members = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Packaging:
    """The irregularities of one archive.

    Attributes:
        manifest_name: "manifest.csv", the misspelling "manifest.cvs", or "" for none.
        spacing_tag: whether SpacingBetweenSlices is written; None leaves it to chance (half of them).
        scout: add a localiser of three orientations.
        inline_result: add the scanner's inline analysis of the middle plane.
        flow: add a velocity series.
        mapping: add a T1 map.
        repeat_slice: index of a plane that is acquired a second time, in a later series.
        one_series: all short-axis planes in a single series.
        private_kb: size of the private block in each file; about 92 in body MRI by Siemens.
        compress_level: level of deflate.
    """

    manifest_name: str | None = None
    spacing_tag: bool | None = None
    scout: bool = False
    inline_result: bool = False
    flow: bool = False
    mapping: bool = False
    repeat_slice: int | None = None
    one_series: bool = False
    private_kb: float = 0.0
    compress_level: int = 1


def simulate_study(
    heart: Heart,
    settings: ImagingSettings,
    rng: np.random.Generator,
    views: tuple[str, ...] = STUDY_VIEWS,
) -> xr.DataTree:
    """A study of several views of one heart, with labels and landmarks.

    Returns:
        :func:`cmr_models.contracts.cine_study`, each view as :func:`simulate_view` makes it.
    """
    states = heart_states(heart, settings.n_frames)
    return contracts.cine_study({view: simulate_view(heart, view, settings, rng, states) for view in views})


def ukb_archives(
    study: xr.DataTree | Mapping[str, xr.Dataset],
    *,
    eid: str | int,
    instance: int = 2,
    rng: np.random.Generator,
    packaging: Packaging = Packaging(),
) -> dict[str, bytes]:
    """Package one visit as archives.

    Args:
        study: views by name; "sax" and the long-axis views are packaged.
        eid: identifier of the participant.
        instance: number of the imaging visit; 2 is the first.
        rng: source of UIDs, date, and the irregularities that ``packaging`` leaves to chance.
        packaging: the irregularities.

    Returns:
        Content by file name: ``<eid>_20209_<instance>_0.zip`` (short axis) and
        ``<eid>_20208_<instance>_0.zip`` (long axis).

    Raises:
        ValueError: if the study has neither short- nor long-axis views.
    """
    views = _views(study)
    session = new_session(str(eid), rng)
    quirks = _decide_quirks(packaging, rng)
    series = {
        SAX_FIELD: _sax_series(views["sax"], quirks, rng) if "sax" in views else [],
        LAX_FIELD: _lax_series(views, quirks, rng),
    }
    if not any(series.values()):
        raise ValueError(f"the study has none of the views {STUDY_VIEWS}; it has {sorted(views)}")
    return {
        f"{eid}_{field}_{instance}_0.zip": zipped(pack_files(session, found, quirks, rng), quirks.compress_level)
        for field, found in series.items()
        if found
    }


def new_session(eid: str, rng: np.random.Generator) -> Session:
    """Draw a visit between 2014 and 2020, in working hours."""
    day = date(2014, 5, 1) + timedelta(days=int(rng.integers(0, 2100)))
    return Session(
        participant=eid,
        study_uid=new_uid(rng),
        frame_of_reference_uid=new_uid(rng),
        date=day.strftime("%Y%m%d"),
        start_s=float(rng.uniform(8, 18) * 3600),
    )


def pack_files(session: Session, series: list[Series], packaging: Packaging, rng: np.random.Generator) -> Members:
    """Files of all series in random order, as in the archives, then the manifest."""
    rows, files = [], []
    for one in series:
        for name, content in encode_series(session, one, rng):
            files.append((name, content))
            rows.append((name, one.uid, one.description))
    order = rng.permutation(len(files))
    members = [files[i] for i in order]
    if packaging.manifest_name:
        members.append((packaging.manifest_name, manifest(session, [rows[i] for i in order])))
    return members


def manifest(session: Session, rows: list[tuple[str, str, str]]) -> bytes:
    """The manifest. One column is misspelt, and the comma in the date is not quoted, which shifts later columns."""
    day = f"{_MONTHS[int(session.date[4:6]) - 1]} {int(session.date[6:])}, {session.date[:4]}"
    lines = ["filename,patientid,studyid,seriesid,date,modality,series discription"]
    lines += [f"{name},{session.participant},{session.study_uid},{uid},{day},MR,{text}" for name, uid, text in rows]
    return ("\n".join(lines) + "\n").encode()


def zipped(members: Members, compress_level: int = 1) -> bytes:
    """Pack members into a zip, in order; the same members give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, content, compresslevel=compress_level)
    return buffer.getvalue()


def unzipped(content: bytes) -> Members:
    """Read the members of a zip, in order."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _views(study: xr.DataTree | Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    if isinstance(study, xr.DataTree):
        return {str(name): node.to_dataset() for name, node in study.children.items()}
    return dict(study)


def _decide_quirks(packaging: Packaging, rng: np.random.Generator) -> Packaging:
    """Draw what the packaging leaves to chance."""
    name, tag = packaging.manifest_name, packaging.spacing_tag
    coin = rng.random(2)
    return replace(
        packaging,
        manifest_name=name if name is not None else ("manifest.csv" if coin[0] < 0.5 else "manifest.cvs"),
        spacing_tag=tag if tag is not None else bool(coin[1] < 0.5),
    )


def _sax_series(view: xr.Dataset, packaging: Packaging, rng: np.random.Generator) -> list[Series]:
    planes = [
        series_of_view(
            view,
            k,
            description=f"CINE_segmented_SAX_b{k + 1}",
            number=20 + k,
            start_s=300 + 20.0 * k,
            rng=rng,
        )
        for k in range(view.sizes["slice"])
    ]
    extra: list[Series] = []
    if packaging.repeat_slice is not None:
        again = planes[packaging.repeat_slice]
        extra.append(replace(again, number=70, uid=new_uid(rng), start_s=again.start_s + 400))
    middle = planes[len(planes) // 2]
    if packaging.inline_result:
        extra.append(result_series(middle, number=80, rng=rng))
    if packaging.flow:
        extra.append(flow_series(middle, number=81, rng=rng))
    if packaging.mapping:
        extra.append(mapping_series(middle, number=82, rng=rng))
    if packaging.one_series:
        planes = [join_series(planes, "CINE_segmented_SAX", 20, new_uid(rng))]
    return [_finish_series(one, packaging) for one in planes + extra]


def _lax_series(views: Mapping[str, xr.Dataset], packaging: Packaging, rng: np.random.Generator) -> list[Series]:
    planes = [
        series_of_view(views[view], 0, description=name, number=10 + i, start_s=120 + 20.0 * i, rng=rng)
        for i, (view, name) in enumerate(_LAX_NAMES.items())
        if view in views
    ]
    if packaging.scout and planes:
        planes = [*scout_series(next(iter(views.values())), number=1, rng=rng), *planes]
    return [_finish_series(one, packaging) for one in planes]


def _finish_series(series: Series, packaging: Packaging) -> Series:
    spacing = series.spacing_mm if packaging.spacing_tag else None
    return replace(series, spacing_mm=spacing, private_bytes=int(packaging.private_kb * 1024))
