"""Which units are known, and what pint calls them.

A unit is text and stays as it was written. `ALIASES` maps the usual spellings that pint refuses to the name that it
accepts; the rest is recognised by taking the text apart: factors joined by `*`, `·`, `/`, each a prefix, a base unit
and an exponent. A unit that is not known is worth a warning, nothing more.
"""

from __future__ import annotations

import re

#: Spelling → pint expression, for what pint (0.25) does not read, or reads as something else (`C` as coulomb,
#: `pct` as picocarat), or what taking the text apart does not recognise.
ALIASES: dict[str, str] = {
    "C": "degC",
    "Cel": "degC",
    "Celsius": "degC",
    "celsius": "degC",
    "deg C": "degC",
    "degree Celsius": "degC",
    "degrees Celsius": "degC",
    "F": "degF",
    "Fahrenheit": "degF",
    "fahrenheit": "degF",
    "deg F": "degF",
    "Kelvin": "kelvin",
    "%": "percent",
    "%RH": "percent",
    "% RH": "percent",
    "pct": "percent",
    "per mille": "permille",
    "ppb": "nanomole / mole",
    "VAr": "volt * ampere",
    "var": "volt * ampere",
    "kvar": "kilovolt * ampere",
    "kVAr": "kilovolt * ampere",
    "Mvar": "megavolt * ampere",
    "varh": "volt * ampere * hour",
    "kvarh": "kilovolt * ampere * hour",
    "VAh": "volt * ampere * hour",
    "kVAh": "kilovolt * ampere * hour",
    "m2": "meter ** 2",
    "m3": "meter ** 3",
    "cm3": "centimeter ** 3",
    "Nm3": "meter ** 3",
    "m3/h": "meter ** 3 / hour",
    "Nm3/h": "meter ** 3 / hour",
    "m3/s": "meter ** 3 / second",
    "W/m2": "watt / meter ** 2",
    "kWh/m2": "kilowatt * hour / meter ** 2",
    "kg/m3": "kilogram / meter ** 3",
    "ug/m3": "microgram / meter ** 3",
    "µg/m3": "microgram / meter ** 3",
    "mg/m3": "milligram / meter ** 3",
    "m/s2": "meter / second ** 2",
    "mH2O": "meter_H2O",
    "mmHg": "millimeter_Hg",
    "barg": "bar",
    "kWp": "kilowatt",
    "Wp": "watt",
    "RPM": "rpm",
    "1/min": "rpm",
    "r/min": "rpm",
    "rev/min": "rpm",
    "sec": "second",
    "secs": "second",
    "mins": "minute",
    "hrs": "hour",
    "Lux": "lux",
    "deg": "degree",
    "Ohm": "ohm",
    "Amp": "ampere",
    "Amps": "ampere",
    "Volt": "volt",
    "Volts": "volt",
    "Watt": "watt",
    "Watts": "watt",
    "Hertz": "hertz",
    "Pascal": "pascal",
    "1": "dimensionless",
    "count": "dimensionless",
    "counts": "dimensionless",
    "pulses": "dimensionless",
    "pH": "dimensionless",
}

#: Names and symbols that pint reads and that may carry a prefix.
_SCALABLE_TEXT = """
m g s A K mol cd rad sr Hz N Pa J W C V F Ω ohm S Wb T H lm lx Bq Gy Sv L l bar B eV Wh Ah VA bit byte t
meter metre gram second ampere kelvin mole candela hertz newton pascal joule watt volt farad siemens weber tesla
henry lumen lux liter litre
"""
#: Those that may not.
_FIXED_TEXT = """
min minute h hr hour d day week month year degC degF °C °F degree_Celsius degree_Fahrenheit degree ° percent permille
ppm rpm rps dB dBm dimensionless inch in ft foot yard mile mph knot psi atm torr hp Btu gallon lb oz kgf
minutes hours days seconds meters metres watts volts amperes liters litres
"""
_PREFIX_TEXT = "da Q R Y Z E P T G M k h d c m u µ μ n p f a kilo mega giga tera milli micro nano centi deci hecto"

_SCALABLE = frozenset(_SCALABLE_TEXT.split())
_FIXED = frozenset(_FIXED_TEXT.split())
_PREFIXES = tuple(_PREFIX_TEXT.split())
_FACTOR = re.compile(r"(?P<unit>[^\d\s^*]+?)(?:(?:\^|\*\*)?(?P<power>-?\d+)|(?P<raised>[⁻²³¹]+))?")


def known_unit(text: str) -> bool:
    """Whether the text is a unit: in `ALIASES`, or made of prefixes, base units and exponents (`m3` is m³)."""
    if text in ALIASES:
        return True
    factors = re.split(r"\s*(?:/|·|(?<!\*)\*(?!\*)| per )\s*|\s+", text.strip())
    return all(_known_factor(factor) for factor in factors)


def _known_factor(factor: str) -> bool:
    found = _FACTOR.fullmatch(factor)
    if found is None:
        return False
    unit = found["unit"]
    if unit in _FIXED or unit in _SCALABLE or unit in ALIASES:
        return True
    return any(unit.startswith(prefix) and unit[len(prefix) :] in _SCALABLE for prefix in _PREFIXES)
