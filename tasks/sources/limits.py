"""How much of one study may be read and decoded, whatever its files claim: five kilobytes must not fill the memory.

A study's files are read, packed members inflated and pixels decoded against one :class:`Budget`. Each is bounded by
itself, and both by the bytes that lie on the disk: real images expand a few times, a bomb thousands of times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cmr_models.reasons import StudyRejected
from tasks.sources.opening import open_source

_MB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits on one study.

    Attributes:
        max_members: members of an archive.
        max_member_bytes: inflated size of one member.
        max_total_bytes: size of the files of a study, those in archives inflated.
        max_decoded_bytes: pixels of a study.
        max_image_bytes: pixels of one file.
        max_ratio: inflated or decoded over packed size, over all files (empty background can reach 50).
        free_bytes: size up to which decoded pixels may have any ratio.
        free_elements: elements and items of headers that a study may have whatever its size; beyond, one for each byte
            of its files. A header's smallest element has eight bytes, and an image some hundred elements.
    """

    max_members: int = 20_000
    max_member_bytes: int = 512 * _MB
    max_total_bytes: int = 4096 * _MB
    max_decoded_bytes: int = 2048 * _MB
    max_image_bytes: int = 512 * _MB
    max_ratio: float = 200.0
    free_bytes: int = 64 * _MB
    free_elements: int = 4_000_000

    @property
    def for_a_look(self) -> Limits:
        """Those on what tells of which study an archive is: it is done for all of them, one after the other.

        A tenth of the elements is that of some hundred headers by the slow reader, and of thousands by the fast one.
        """
        return replace(self, free_bytes=self.free_bytes // 4, free_elements=self.free_elements // 10)


class Budget:
    """What is left for one study.

    Args:
        limits: of the study.
        n_packed: bytes of its files as they lie on the disk.

    Raises:
        StudyRejected: ``study_too_large``, here and by each method.
    """

    def __init__(self, limits: Limits = Limits(), n_packed: int = 0) -> None:
        self.limits, self.n_packed = limits, n_packed
        self._inflated = self._decoded = self._parsed = 0
        if n_packed > limits.max_total_bytes:
            raise _too_large(f"Its files have {_in_mb(n_packed)}", limits.max_total_bytes, "max_inflated_mb")

    def inflate(self, n_bytes: int) -> None:
        """Take ``n_bytes`` that were, or are about to be, inflated."""
        self._inflated += n_bytes
        if self._inflated > self.limits.max_total_bytes:
            raise _too_large(f"It inflates to {_in_mb(self._inflated)}", self.limits.max_total_bytes, "max_inflated_mb")
        self._check_ratio(self._inflated, "inflates")

    def holds(self, n_bytes: int) -> bool:
        """Whether the pixels of one file may have ``n_bytes``."""
        return n_bytes <= self.limits.max_image_bytes

    def decode(self, n_bytes: int) -> None:
        """Take the pixels of a file that is about to be decoded."""
        if not self.holds(n_bytes):
            raise _too_large(f"One file decodes to {_in_mb(n_bytes)}", self.limits.max_image_bytes, "max_decoded_mb")
        self._decoded += n_bytes
        if self._decoded > self.limits.max_decoded_bytes:
            raise _too_large(
                f"Its pixels decode to {_in_mb(self._decoded)}", self.limits.max_decoded_bytes, "max_decoded_mb"
            )
        self._check_ratio(self._decoded, "decodes")

    def parse(self, n_elements: int = 1) -> None:
        """Take elements and items of headers that are about to be read: empty ones cost time and no bytes."""
        self._parsed += n_elements
        if self._parsed > self.limits.free_elements + self.n_packed:
            raise StudyRejected("study_too_large", "Its headers hold far more elements than those of images do.")

    @property
    def left_to_inflate(self) -> int:
        """How many bytes the next file may inflate to."""
        by_ratio = self.limits.free_bytes + self.limits.max_ratio * self.n_packed
        return max(0, int(min(self.limits.max_total_bytes, by_ratio)) - self._inflated)

    def _check_ratio(self, n_bytes: int, what: str) -> None:
        if n_bytes > self.limits.free_bytes + self.limits.max_ratio * self.n_packed:
            raise StudyRejected(
                "study_too_large", f"It {what} to {_in_mb(n_bytes)} from {self.n_packed} bytes, as no image does."
            )


def read_file(path: Path, most_bytes: int) -> bytes:
    """The content of a file, which may have grown since its size was asked.

    Raises:
        StudyRejected: ``study_too_large`` if it has more bytes; no more are read.
        OSError: if it cannot be read.
    """
    with open_source(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise _too_large(f"A file has more than {_in_mb(most_bytes)}", most_bytes, "max_inflated_mb")
    return content


def _too_large(found: str, most_bytes: int, setting: str) -> StudyRejected:
    return StudyRejected("study_too_large", f"{found}; {_in_mb(most_bytes)} are permitted (convert.{setting}).")


def _in_mb(n_bytes: int) -> str:
    return f"{n_bytes / _MB:.0f} MB"
