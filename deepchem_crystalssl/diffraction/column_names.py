"""What headers of text say: names of columns, the unit of Q or d, and the wavelength."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import PatternError
from .patterns import check_wavelength, mean_wavelength
from .radiation import ANODES, WAVELENGTHS

_HEADER_LINES = 5  # lines above the rows in which names are looked for
_INDEX = {
    "",
    "no",
    "nr",
    "n",
    "num",
    "number",
    "index",
    "idx",
    "id",
    "point",
    "points",
    "pt",
    "unnamed:0",
    "row",
    "channel",
}
_COUNTS = (  # most direct name first
    ("count", "cts"),
    ("yobs", "iobs", "obs", "imeas", "ymeas", "meas"),
    ("inten", "int", "i", "iq", "signal", "det", "psd", "detector"),
    ("cps", "rate"),
    ("y",),
)
_ERRORS = {"e", "esd", "sd", "sig", "di", "dy", "yerr", "ierr", "weight", "weights", "σ", "uncertainty"}
_CALCULATED = ("calc", "ycal", "fit", "diff", "bkg", "back", "resid", "bragg", "smooth")
_OTHER_AXES = (
    "energy",
    "tof",
    "kev",
    "ev",
    "wavelength",
    "lambda",
    "sint",
    "frequency",
    "wavenumber",
    "raman",
)
_OTHER_UNITS = re.compile(r"(?<![a-z])m?rad(?:ians?)?(?![a-z])|(?<![a-z])mdeg|(?<![a-z])[km]?ev(?![a-z])")
_RECIPROCAL_UNITS = re.compile(r"1/\s*(?:a|å|nm)(?![a-z])|1/angstrom|(?:(?<![a-z])a|å|nm|angstroms?)\s*\^?\{?[-−]1")
_Q_IN_TEXT = re.compile(
    r"(?:^|[\s,;(\[])q[\s_]*(?:[(\[/,^]|$)|q_(?:nm|a)|scattering vector|momentum transfer|d.spacing"
    r"|nm\s*\^?\s*-1|1/nm|(?:å|angstroms?)\s*\^?\s*-1|1/(?:å|angstrom)"
)
_NEUTRONS = re.compile(r"\b(?:(?i:neutrons?)|HRPT|SINQ|Laue-Langevin)\b")
_NEUTRON_INSTRUMENTS = re.compile(  # the second is the layout of DMC and HRPT
    r"\b(?:D1A|D1B|D2B)[0-9]?\b|\bDMC\b|^ *lambda=[^\n]{1,40}\bT=[^\n]{1,40}\bdT=", re.MULTILINE
)


@dataclass(frozen=True)
class Names:
    """Columns that a header names.

    Attributes
    ----------
    names : list of str
        Of all columns.
    x, y : int
        Places of the axis and of the counts.
    axis : {"angle", "q", "d"}
    factor : float
        Brings Q to 1/Å, or d to Å.
    note : str
    """

    names: list[str]
    x: int
    y: int
    axis: str
    factor: float
    note: str


def role_of(name: str) -> str:
    """What a column holds by its name.

    Returns
    -------
    str
        "angle", "q", "d", "theta", "other axis", "counts 0" (the most direct name) to "counts 4", "error", "index",
        "time", "calculated" or "unknown".

    Examples
    --------
    >>> [role_of(name) for name in ("2-Theta (deg)", "q_nm^-1", "d [Å]", "Intensity", "sigma", "delta")]
    ['angle', 'q', 'd', 'counts 2', 'error', 'unknown']
    """
    lower = name.strip().lower()
    base = re.sub(r"[\s_\-*·.°|:]+", "", re.split(r"[(\[]", lower)[0])
    squeezed = re.sub(r"[\s_\-*·.°|]+", "", lower)
    if _OTHER_UNITS.search(lower):
        return "other axis"
    if any(mark in squeezed for mark in ("2th", "2θ", "2ϑ", "twoth")) or base.startswith(("tth", "ttheta")):
        return "counts 2" if re.match(r"(i|int|intensity|counts?)[(\[]", squeezed) else "angle"
    if re.match(r"q(?![a-z])|q(nm|a|å)(?![a-z])|scatteringvector|momentumtransfer|qmod", base):
        return "q"
    if re.match(r"d(?![a-z])|d(spacings?|values?|obs|hkl|nm|a|å)(?![a-z])", base):
        return "d"
    if _RECIPROCAL_UNITS.search(lower):
        return "other axis"
    if base in ("theta", "θ", "ϑ", "th", "omega", "ω"):
        return "theta"
    if base.startswith(("angle", "degree", "twotheta")) or base in ("deg", "pos", "position"):
        return "angle"
    if base.startswith("err") or base.startswith(("sigma", "std")) or base in _ERRORS:
        return "error"
    if any(mark in base for mark in _CALCULATED) or base.startswith(("log", "ln(", "sqrt")):
        return "calculated"
    if base.startswith(("time", "sec", "elapsed", "livetime", "countingtime", "counttime")) or base in (
        "t",
        "t/s",
        "s",
    ):
        return "time"
    for rank, marks in enumerate(_COUNTS):
        if any(base == mark or len(mark) > 2 and base.startswith(mark) for mark in marks):
            return f"counts {rank}"
    if base in _INDEX or base == "#":
        return "index"
    return "other axis" if base.startswith(_OTHER_AXES) else "unknown"


def header_names(header: list[str], width: int, separator: str, labels: bool, counted: bool, item: str) -> Names | None:
    """The columns that the lines above the rows name, None if they name none.

    Parameters
    ----------
    header : list of str
    width : int
        Number of columns.
    separator : str
        ";", ",", " " or "mixed".
    labels : bool
        Whether the first lines are a title and one label for each axis, as fit2d writes them.
    counted : bool
        Whether the first column counts the points; then it may lack a name.
    item : str

    Raises
    ------
    PatternError
        If the header names an axis that is not two-theta, Q or d, or if the names are ambiguous.
    """
    if labels and len(header) > 2:
        names = [header[1].strip(), header[2].strip(), *[""] * (width - 2)]
        if role_of(names[0]) == "unknown":
            if names[0] and len(header) == 4 and header[3].strip().isdecimal():  # a title, two labels, the points
                raise _other_axis(names, names[0], item)
            return None
        return _choose(names, item)
    lines = [line for line in header if line.strip()][-_HEADER_LINES:]
    for line in reversed(lines):
        for names in _splits(line[:1000], separator):
            if counted and len(names) == width - 1:
                names = ["", *names]
            roles = [role_of(name) for name in names]
            if len(names) == width and any(role in ("angle", "q", "d", "theta", "other axis") for role in roles):
                if separator != " " or "unknown" not in roles[:2] or any(role.startswith("counts") for role in roles):
                    return _choose(names, item)
    nearest = lines[-1][:1000].strip() if lines else ""
    if _Q_IN_TEXT.search(nearest.lower()):
        raise PatternError(
            item, f"header {nearest[:60]!r} above rows of {width} numbers",
            "a header that speaks of Q or d must name each column",
            "Write a header with one name for each column, such as 'Q (1/nm), counts'.",
        )  # fmt: skip
    return None


def _splits(line: str, separator: str) -> list[list[str]]:
    """Ways to split a header into names."""
    text = line.strip().lstrip("#!;'*/%" if separator != ";" else "#!'*/%").replace('"', "").strip(" \t")
    ways = [re.findall(r"[^\s(\[]*\s?[(\[][^)\]]*[)\]]|\S+", text), text.split(), re.split(r"\s{2,}|\t", text)]
    marks = [mark for mark in (separator, "\t", ",", ";") if mark in ",;\t" and mark in text]
    return [[name.strip() for name in text.split(mark)] for mark in marks] + ways


def _shown(names: list[str]) -> str:
    return ", ".join(repr(name[:30]) for name in names[:8])


def _other_axis(names: list[str], named: str, item: str) -> PatternError:
    return PatternError(
        item, f"columns {_shown(names)}: {named[:30]!r} is not two-theta in degrees",
        "the axis must be two-theta, Q or d",
        "Convert the axis; if it is two-theta, write 'two_theta' into the header.",
    )  # fmt: skip


def _choose(names: list[str], item: str) -> Names:
    roles = [role_of(name) for name in names]
    shown = _shown(names)
    axes = [place for kind in ("angle", "q", "d") for place, role in enumerate(roles) if role == kind]
    if not axes:
        named = next(name for name, role in zip(names, roles, strict=True) if role in ("theta", "other axis"))
        raise _other_axis(names, named, item)
    x = axes[0]
    ranked = sorted((role, place) for place, role in enumerate(roles) if role.startswith("counts"))
    best = [place for role, place in ranked if role == ranked[0][0]]
    if not best:
        best = [place for place, role in enumerate(roles) if role == "unknown" and place != x]
    if not best and len(names) == 2:
        best = [1 - x] if roles[1 - x] not in ("error", "calculated") else []
    if len(best) != 1:
        raise PatternError(item, f"columns {shown}: {len(best)} may hold the counts", "one column is named counts",
                           "Name one column 'counts' in the header.")  # fmt: skip
    factor, note = 1.0, ""
    if roles[x] in ("q", "d"):
        unit = names[x].lower()[1:]
        nm = "nm" in unit
        factor = (0.1 if roles[x] == "q" else 10.0) if nm else 1.0
        if not nm and not re.search(r"å|angstrom|(?<![a-z])a(?![a-z])|\u212b", unit):
            unit_meant = "1/Å" if roles[x] == "q" else "Å"
            note = f"the unit of {names[x][:30]!r} is not stated and was taken as {unit_meant}"
    return Names(names, x, best[0], roles[x], factor, note)


_WAVELENGTH = re.compile(
    r"(?:wave\s?-?length|lambda|λ|_wl)[^0-9=:,]{0,30}[=:,]\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)"
    r"\s*(nm|pm|m|å|a)?(?![a-z])"
)
_RATIO = re.compile(r"ratio[^=:,]{0,40}[=:,]\s*([0-9]*\.?[0-9]+)")
_ANODE = re.compile(r"anode[^a-z0-9]{0,10}(?:material[^a-z0-9]{0,10})?([a-z]{2})(?![a-z])")
_UNITS = {"nm": 10.0, "pm": 0.01, "m": 1e10}


def stated_wavelength(lines: list[str], item: str) -> float | None:
    """The wavelength (Å) that the lines above the rows state, or that of the anode they name.

    Raises
    ------
    PatternError
        If the wavelength is absurd.

    Examples
    --------
    >>> stated_wavelength(["# Wavelength: 7.0e-11 m"], "x"), stated_wavelength(['Anode: "Co"'], "x")
    (0.7, 1.79026)
    """
    alpha1 = alpha2 = 0.0
    ratio, anode = 0.5, None
    for line in lines:
        lower = line[:500].lower()
        found = _WAVELENGTH.search(lower)
        if found:
            label = lower[: found.start(1)]
            inside = re.search(r"[(\[]\s*(nm|pm)\s*[)\]]", label)
            unit = found[2] or (inside[1] if inside else "")
            value = round(float(found[1]) * _UNITS.get(unit, 1.0), 9)
            if "beta" in label or "kb" in label:
                continue
            if re.search(r"alpha\s?-?2|ka\s?2|wl2|lambda\s?2", label):
                alpha2 = alpha2 or value
            else:
                alpha1 = alpha1 or value
        elif share := _RATIO.search(lower):
            ratio = float(share[1])
        elif named := _ANODE.search(lower):
            anode = anode or named[1].capitalize()
    wavelength = mean_wavelength(alpha1, alpha2, ratio)
    if wavelength is None and anode in ANODES:
        wavelength = WAVELENGTHS[f"{anode}Ka"]
    return None if wavelength is None else check_wavelength(wavelength, item)


def names_neutrons(text: str, instruments: bool = False) -> bool:
    """Whether a header says that neutrons were scattered.

    Parameters
    ----------
    text : str
    instruments : bool
        Whether short names are those of diffractometers at the Institut Laue-Langevin (D1A, D1B, D2B) and at the Paul
        Scherrer Institute (DMC); elsewhere they may be those of samples.

    Examples
    --------
    >>> names_neutrons("# Radiation: Neutron"), names_neutrons("D1A5 LaNi5"), names_neutrons("D1A5 LaNi5", True)
    (True, False, True)
    """
    return any(pattern.search(text) for pattern in (_NEUTRONS, *([_NEUTRON_INSTRUMENTS] if instruments else [])))
