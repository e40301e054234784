"""Words of headers that a study keeps: terms of cardiac MR, and nothing else that somebody may have typed.

Descriptions, names of sequences and of scanners are free text, in which sites also write names of people. So a text is
cut into its words, and only those on a list stay. Numbers go too, but for those that are part of a term (``4ch``).
Recognition of views reads the whole text; what is stored is for people to see which series was meant.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS = re.compile(r"[^\W_]+", re.ASCII)
_BEGINNING = re.compile(r"[a-z]+")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SERIES: Final = _listed("""
    2ch 2cv 3ch 4ch 4cv 1ch 2d 3d 4d 3t aif angio ao aorta aortic apex apical arterial asc ascending atrial ax
    axial basal base bh black blood bolus bravo breath bssfp cardiac cemra chamber cine cines contrast cor coronal
    coronary cross dark delayed desc descending diastole diastolic distensibility dynamic early ecv ed enhanced
    enhancement epi es fast fat fb fgre fiesta fisp flair flash flow free gadolinium gated gre grid haste heart hla hold
    horizontal hybrid inflow inline inlinevf inversion ir la late lax left lge ll loc localiser localizer long look
    lv lvot lvsa mag magnitude map mapping maps mde mid middle mip moco molli morphology motion mra mrcp
    multi myocardial native navigator normal oblique outflow overview parallel perf perfusion pd phase pha post prep
    processed proton psir pulmonary pulse radial ra real realtime recon ref resp rest result retro retrospective right
    rt rv rvot sa sag sagittal saturation sax sb scan scout segmented sense sequence series shmolli short shot siemens
    single slice smolli spamm spin ssfp stack stir stress survey sshot systole systolic t1 t1map t1w t2 t2map t2star
    t2w tag tagged tagging test tf tfe tfi tfl thk thorax time tir tra transverse tr trigger triggered true truefisp
    trufi trufisp tse turbo two three four valve velocity venc ventricle ventricular vertical view vla volume whole
""")
_SEQUENCES: Final = _listed("""
    bssfp ep epi ffe fgre fiesta fisp fl flash fse ge gre haste hfe mde me molli se ssfp tf tfe tfi tfl tir tse
""")
_MAKERS: Final = _listed("""
    agfa bruker canon esaote fujifilm ge general electric healthcare healthineers hitachi imaging medical neusoft
    philips siemens systems toshiba uih united
""")
_MODELS: Final = _listed("""
    5t 3t 7t achieva aera altea ambition amira architect artist avanto biograph connectom creator dstream discovery
    elition espree excite explorer fit free galan genesis hdx hdxt ingenia intera investigational lumina magnetom
    medical mmr mr mr450 mr450w mr750 mr750w numaris optima orian panorama pioneer premier prisma signa skyra sola
    sonata spectra symphony systems titan trio triotim vantage verio vida vision voyager x xr xt
""")
_CODES: Final = _listed("""
    se ir gr ep rm sk mtc ss trss sp mp osp none per rg cg ppg fc pff pfp fs sat1 sat2 st fatsat ct ecg pg gated prosp
    retro edr fast irp seq
""")
"""Defined terms of PS3.3 C.8.3.1, and those of vendors."""

_KEPT: Final = {
    "manufacturer": _MAKERS,
    "manufacturer_model": _MODELS,
    "scanning_sequence": _CODES,
    "sequence_variant": _CODES,
    "scan_options": _CODES,
    "sequence_name": _SEQUENCES,
    "series_description": _SERIES,
}
FIELDS: Final = tuple(_KEPT)


def kept_words(field: str, text: str) -> str:
    """The words of a header's text that are on the list of its field, as they are written, in their order.

    A word that begins with a term and goes on with digits (``tfi2d1``, ``sax3``) counts as the term.
    """
    listed = _KEPT[field]
    return " ".join(term for word in _WORDS.findall(text) if (term := _term(word, listed)))


def _term(word: str, listed: frozenset[str]) -> str:
    if word.casefold() in listed:
        return word
    beginning = _BEGINNING.match(word.casefold())
    if beginning is None or beginning[0] not in listed or not word[beginning.end()].isdigit():
        return ""
    return word[: beginning.end()]
