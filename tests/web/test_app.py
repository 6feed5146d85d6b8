"""The application as it is put together."""

from __future__ import annotations

import re

from web_client import application, routes_of

from realtime.formats.catalogue import FORMATS
from web.app import create_app


def test_the_routes_are_listed_in_order() -> None:
    told = re.findall(r"^ {8}([A-Z]+ /.*)$", create_app.__doc__ or "", re.M)
    files = "|".join(re.escape(format.route) for format in FORMATS.values())
    routes = [re.sub(f"({files})$", "FORMAT", route) for route in routes_of(application())]
    assert told == [*dict.fromkeys(routes)]
