"""Units as data nodes write them, made Grafana's unit ids."""

from __future__ import annotations

# As they are written: S is siemens and s a second, mW and MW are a factor of 1e9 apart.
_SYMBOLS = {
    "celsius": "C degC °C ℃",
    "fahrenheit": "degF °F",
    "kelvin": "K",
    "percent": "%",
    "humidity": "%h %H %rh %RH",
    "pressurehpa": "hPa",
    "pressurembar": "mbar",
    "pressurebar": "bar",
    "pressurepa": "Pa",
    "pressurekpa": "kPa",
    "pressurepsi": "psi",
    "pressurehg": "inHg",
    "velocityms": "m/s ms-1 m*s-1 mps",
    "velocitykmh": "km/h kmh kph",
    "velocitymph": "mph",
    "velocityknot": "kn kt",
    "lengthmm": "mm",
    "lengthm": "m",
    "lengthkm": "km",
    "degree": "deg °",
    "radian": "rad",
    "arcmin": "arcmin",
    "arcsec": "arcsec",
    "rotrpm": "rpm RPM",
    "volt": "V",
    "mvolt": "mV",
    "kvolt": "kV",
    "amp": "A",
    "mamp": "mA",
    "farad": "F",
    "henry": "H",
    "mhenry": "mH",
    "ohm": "Ω Ω ohm",
    "watt": "W",
    "mwatt": "mW",
    "kwatt": "kW",
    "megwatt": "MW",
    "Wm2": "W/m2 W/m^2 W/m²",
    "dB": "dB",
    "dBm": "dBm",
    "hertz": "Hz",
    "ns": "ns",
    "µs": "us µs μs",
    "ms": "ms",
    "s": "s",
    "m": "min",
    "h": "h",
    "d": "d",
    "bits": "b",
    "bytes": "B",
    "kbytes": "KiB",
    "deckbytes": "kB",
    "mbytes": "MiB",
    "decmbytes": "MB",
    "gbytes": "GiB",
    "decgbytes": "GB",
    "Bps": "B/s Bps",
    "bps": "bps b/s bit/s",
    "accMS2": "m/s2 m/s^2 m/s²",
    "ppm": "ppm",
    "litre": "l L",
    "flowlpm": "l/min L/min lpm",
    "none": "1",
}

# In any case, as nobody means two things by one of them.
_WORDS = {
    "celsius": ("celsius", "deg c", "degree celsius", "degrees celsius"),
    "fahrenheit": ("fahrenheit", "deg f", "degree fahrenheit", "degrees fahrenheit"),
    "kelvin": ("kelvin",),
    "percent": ("percent", "pct"),
    "humidity": ("% rh",),
    "pressurehpa": ("hectopascal",),
    "pressurembar": ("millibar",),
    "pressurepa": ("pascal",),
    "velocityms": ("m s-1",),
    "velocityknot": ("knot", "knots"),
    "lengthmm": ("millimeter", "millimetre", "millimeters", "millimetres"),
    "lengthm": ("meter", "metre", "meters", "metres"),
    "degree": ("degree", "degrees"),
    "radian": ("radian", "radians"),
    "volt": ("volt", "volts"),
    "amp": ("amp", "ampere", "amps", "amperes"),
    "ohm": ("ohms",),
    "watt": ("watt", "watts"),
    "Wm2": ("w m-2",),
    "hertz": ("hertz",),
    "ms": ("millisecond", "milliseconds"),
    "s": ("sec", "second", "seconds"),
    "m": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "d": ("day", "days"),
    "bytes": ("byte", "bytes"),
    "Bps": ("bytes/s",),
    "litre": ("litre", "liter", "litres", "liters"),
    "none": ("", "count", "counts", "dimensionless"),
}

_BY_SYMBOL = {symbol: unit for unit, symbols in _SYMBOLS.items() for symbol in symbols.split()}
_BY_WORD = {word: unit for unit, words in _WORDS.items() for word in words}


def grafana_unit(units: str | None) -> str | None:
    """The id under which Grafana knows a unit, or the unit as a suffix if it has none for it.

    Parameters
    ----------
    units : str or None
        As the data node gives them.
    """
    if units is None:
        return None
    bare = units.strip()
    known = _BY_SYMBOL.get(bare) or _BY_WORD.get(bare.lower())
    return known if known is not None else f"suffix: {bare}"
