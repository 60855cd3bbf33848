import pytest

from twingateway.validation.units import ALIASES, known_unit


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Celsius",
            "Cel",
            "°C",
            "degC",
            "K",
            "%",
            "%RH",
            "ppm",
            "V",
            "kV",
            "mA",
            "A",
            "W",
            "kW",
            "MWh",
            "Wh",
            "var",
        ),
        *("kvar", "VA", "kVA", "Hz", "Pa", "hPa", "kPa", "bar", "mbar", "m3/h", "m³/h", "m^3/h", "l/min", "W/m2"),
        *("W/m²", "m/s", "m s-1", "km/h", "rpm", "s", "ms", "min", "h", "lux", "lx", "klx", "dB", "g/kWh", "kWh/day"),
        *("var", "µg/m3", "µS/cm", "N·m", "J", "GJ", "kg", "t", "km per hour", "1"),
    ],
)
def test_usual_units_are_known(text: str) -> None:
    assert known_unit(text)


@pytest.mark.parametrize(
    "text", ["", " ", "furlongs", "banana", "kWx", "/", "m//s", "kW/", "Celcius", "kmin", "3", "^2"]
)
def test_misspelt_and_made_up_units_are_not(text: str) -> None:
    assert not known_unit(text)


def test_pint_reads_what_every_alias_stands_for() -> None:
    registry = pytest.importorskip("pint", reason="the extra `units` is not installed").UnitRegistry()
    for name in ALIASES.values():
        registry.Unit(name)
