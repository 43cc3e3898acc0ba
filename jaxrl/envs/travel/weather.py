"""The weather of a day: a season by latitude, and a draw by (seed, city, date)."""

import math

from jaxrl.envs import draws
from jaxrl.envs.travel import places

SKIES = ("sunny", "sunny", "partly cloudy", "cloudy", "light rain", "rain")


def weather(world, city, date):
    """The forecast for a City on a datetime.date, as a plain dict.

    T_max = 31 − 0.42 |φ| + s(φ) cos(2π (day − 200)/365) + noise,  s = 13 |φ|/50, southern s < 0
    """
    key = f"{world.seed}/weather/{city.name}/{date}"
    season = 13 * city.lat / 50 * math.cos(2 * math.pi * (date.timetuple().tm_yday - 200) / 365)
    high = round(31 - 0.42 * abs(city.lat) + season + draws.uniform(f"{key}/high", -4, 4))
    sky = draws.pick(f"{key}/sky", SKIES)
    wet = sky.endswith("rain")
    return {
        "city": city.name,
        "date": str(date),
        "weekday": places.weekday(date),
        "sky": sky.replace("rain", "snow") if high < 1 else sky,
        "high_c": high,
        "low_c": high - draws.integer(f"{key}/range", 5, 11),
        "rain_percent": draws.integer(f"{key}/wet", 60, 95) if wet else draws.integer(key, 0, 35),
    }


def umbrella(world, city, date):
    """ "yes" where rain is at least as likely as not, else "no"."""
    return "yes" if weather(world, city, date)["rain_percent"] >= 50 else "no"
