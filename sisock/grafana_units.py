"""Units as data nodes write them, made Grafana's unit ids."""

from __future__ import annotations

_IDS = {
    "celsius": ("c", "degc", "°c", "℃", "celsius", "deg c", "degree celsius", "degrees celsius"),
    "fahrenheit": ("f", "degf", "°f", "fahrenheit", "deg f"),
    "kelvin": ("k", "kelvin"),
    "percent": ("%", "percent", "pct"),
    "humidity": ("%h", "%rh", "% rh"),
    "pressurehpa": ("hpa", "hectopascal"),
    "pressurembar": ("mbar", "mb", "millibar"),
    "pressurebar": ("bar",),
    "pressurepa": ("pa", "pascal"),
    "pressurekpa": ("kpa",),
    "pressurepsi": ("psi",),
    "pressurehg": ("inhg",),
    "velocityms": ("m/s", "m s-1", "ms-1", "m*s-1", "mps"),
    "velocitykmh": ("km/h", "kmh", "kph"),
    "velocitymph": ("mph",),
    "velocityknot": ("kn", "kt", "knot", "knots"),
    "lengthmm": ("mm", "millimeter", "millimetre"),
    "lengthm": ("m", "meter", "metre", "meters", "metres"),
    "lengthkm": ("km",),
    "degree": ("deg", "°", "degree", "degrees"),
    "radian": ("rad", "radian", "radians"),
    "arcmin": ("arcmin",),
    "arcsec": ("arcsec",),
    "rotrpm": ("rpm",),
    "volt": ("v", "volt", "volts"),
    "mvolt": ("mv",),
    "kvolt": ("kv",),
    "amp": ("a", "amp", "ampere", "amps"),
    "mamp": ("ma",),
    "ohm": ("ohm", "ohms", "ω"),
    "watt": ("w", "watt", "watts"),
    "mwatt": ("mw",),
    "kwatt": ("kw",),
    "Wm2": ("w/m2", "w/m^2", "w/m²", "w m-2"),
    "dB": ("db",),
    "dBm": ("dbm",),
    "hertz": ("hz", "hertz"),
    "ns": ("ns",),
    "µs": ("us", "µs"),
    "ms": ("ms", "millisecond", "milliseconds"),
    "s": ("s", "sec", "second", "seconds"),
    "m": ("min", "minute", "minutes"),
    "h": ("h", "hour", "hours"),
    "d": ("d", "day", "days"),
    "bytes": ("b", "byte", "bytes"),
    "kbytes": ("kb", "kib"),
    "mbytes": ("mib",),
    "gbytes": ("gb", "gib"),
    "Bps": ("b/s", "bytes/s", "bps"),
    "accMS2": ("m/s2", "m/s^2", "m/s²"),
    "ppm": ("ppm",),
    "litre": ("l", "litre", "liter"),
    "flowlpm": ("l/min", "lpm"),
    "none": ("1", "", "count", "counts", "dimensionless"),
}

_BY_NAME = {name: unit for unit, names in _IDS.items() for name in names}

_CASE_MATTERS = {"mW": "mwatt", "MW": "megwatt", "mV": "mvolt", "Bps": "Bps", "bps": "bps"}


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
    if bare in _CASE_MATTERS:
        return _CASE_MATTERS[bare]
    known = _BY_NAME.get(bare.lower())
    return known if known is not None else f"suffix: {bare}"
