"""Says hello, and counts, in a file of its volume, to whom."""

import html
import os
from pathlib import Path

COUNT = Path("data/count")


def application(environ, start_response):
    count = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
    COUNT.write_text(str(count))
    start_response("200 OK", [("Content-Type", "text/html")])
    name = html.escape(environ["PATH_INFO"].strip("/") or "<world>")
    return [f"hello {name}, {count} of user {os.getuid()}\n".encode()]
