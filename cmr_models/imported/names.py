"""Structures of the heart by the names that other people's label maps use."""

from __future__ import annotations

from collections.abc import Mapping

from cmr_models.contracts.labels import (
    AORTA_ASCENDING,
    AORTA_DESCENDING,
    BACKGROUND,
    LA,
    LABEL_NAMES,
    LV,
    MYOCARDIUM,
    RA,
    RV,
)

SHORT_NAMES: Mapping[str, int] = {"background": BACKGROUND, "RV": RV, "MYO": MYOCARDIUM, "LV": LV, "LA": LA, "RA": RA}
"""What a user writes for a structure."""

_BLOOD = ("", "c", "p", "bp", "cavity", "pool", "bloodpool", "bloodcavity", "endo", "lumen", "blood")
_CHAMBERS = {
    RV: ("rv", "rightventricle", "rightventricular"),
    LV: ("lv", "leftventricle", "leftventricular"),
    LA: ("la", "leftatrium", "leftatrial"),
    RA: ("ra", "rightatrium", "rightatrial"),
}
_WALLS = ("myo", "myocardium", "myocardial", "wall", "m", "muscle")
_LEFT = ("lv", "leftventricle", "leftventricular")
_NAMES: Mapping[str, int] = {
    **{name + blood: code for code, names in _CHAMBERS.items() for name in names for blood in _BLOOD},
    **{f"{left}{wall}": MYOCARDIUM for left in _LEFT for wall in _WALLS},
    **{f"{wall}{left}": MYOCARDIUM for left in _LEFT for wall in ("myo", "myocardium")},
    **dict.fromkeys(("myo", "myocardium", "leftmyocardium"), MYOCARDIUM),
    **dict.fromkeys(("ascendingaorta", "aortaascending", "aao"), AORTA_ASCENDING),
    **dict.fromkeys(("descendingaorta", "aortadescending", "dao"), AORTA_DESCENDING),
    **dict.fromkeys(("background", "bg"), BACKGROUND),
}


def codes_of(names: Mapping[str, int], stated: Mapping[str, int]) -> tuple[int, ...]:
    """Our code of each label of a network, in the order of its labels.

    Args:
        names: the network's name of a label -> its number, 0 to n - 1.
        stated: name -> our code, where the user says what a name means.

    Raises:
        ValueError: if a name is unknown, ``stated`` names no label, or the labels are not numbered 0 to n - 1.
    """
    strangers = sorted(set(stated) - set(names))
    if strangers:
        raise ValueError(f"the network has no label {strangers}; its labels are {list(names)}")
    found = {name: stated.get(name, _NAMES.get(_plain(name))) for name in names}
    unknown = [name for name, code in found.items() if code is None]
    if unknown:
        known = ", ".join(SHORT_NAMES)
        raise ValueError(
            f"the label {unknown[0]!r} has an unknown name; say what it is with --label '{unknown[0]}=...' ({known})"
        )
    if sorted(names.values()) != list(range(len(names))):
        raise ValueError(f"labels must be numbered from 0 without gaps, got {dict(names)}")
    by_number = {number: found[name] for name, number in names.items()}
    codes = tuple(code for _, code in sorted(by_number.items()) if code is not None)
    if codes[0] != BACKGROUND or set(codes) == {BACKGROUND}:
        raise ValueError(f"label 0 must be the background and another one a structure, got {dict(names)}")
    return codes


def names_of(codes: tuple[int, ...]) -> tuple[str, ...]:
    """Our names of the structures."""
    return tuple(LABEL_NAMES[code] for code in codes)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
