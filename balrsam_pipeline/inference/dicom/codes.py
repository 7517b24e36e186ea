"""What a label is called in the vocabulary of DICOM, and its colour: from a JSON file, else by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.printable import one_line
from balrsam_pipeline.serialise import from_json

OWN_SCHEME = "99BALRSAM"  # of labels that no code was given for
STRUCTURE = ("123037004", "SCT", "Anatomical structure")
# Okabe and Ito's colours, which people with colour-blindness can tell apart
COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
Code = tuple[str, str, str]  # value, scheme, meaning
LONGEST = (16, 16, 64)  # characters of them: DICOM PS3.5, SH and LO
LARGEST_COLOUR = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCode:
    """How a label is coded: `type` and `category` as (value, scheme, meaning), and its colour (RGB)."""

    type: Code
    category: Code = STRUCTURE
    colour: tuple[int, int, int] | None = None


def codes_of(names: Sequence[str], path: Path | None) -> tuple[LabelCode, ...]:
    """The code of every label, in order.

    Args:
        path: a JSON file {label: {"type": [value, scheme, meaning], "category": …, "colour": [r, g, b]}}.

    Raises:
        PredictionError: the file is malformed, or names labels that there are not.

    Example:
        >>> codes_of(("liver",), None)[0].type
        ('1', '99BALRSAM', 'liver')
    """
    content = read_json(path, PredictionError) if path is not None else {}
    unknown = sorted(set(content) - set(names)) if isinstance(content, dict) else ["no JSON object"]
    if unknown:
        raise PredictionError(
            path or "codes",
            found=", ".join(unknown),
            expected=f"labels among {', '.join(names)}",
            fix="correct the names in that file",
        )
    found = []
    for number, name in enumerate(names):
        where = f"{path}: {name}"
        code = (
            _checked(from_json(LabelCode, content[name], where, PredictionError), where)
            if name in content
            else LabelCode(type=(str(number + 1), OWN_SCHEME, name[:64]))
        )
        colour = code.colour or COLOURS[number % len(COLOURS)]
        found.append(LabelCode(type=code.type, category=code.category, colour=colour))
    return tuple(found)


def _checked(code: LabelCode, where: str) -> LabelCode:
    """A code that DICOM has room for.

    Raises:
        PredictionError: it has not.
    """
    texts = [pair for triple in (code.type, code.category) for pair in zip(triple, LONGEST, strict=True)]
    sound = all(0 < len(text) <= most and one_line(text) == text and "\\" not in text for text, most in texts)
    if not sound or any(not 0 <= part <= LARGEST_COLOUR for part in code.colour or ()):
        raise PredictionError(
            where,
            found=f"{code.type}, {code.category}, colour {code.colour}",
            expected="value and scheme of 1 to 16 characters, a meaning of 1 to 64, without backslashes, and "
            "a colour of three numbers from 0 to 255",
            fix="correct it in that file",
        )
    return code
