"""Replaces curl where there is none: `curl [-i] [-I] [-w TEXT] [-X METHOD] [-H HEADER]... [-d BODY] URL`."""

from __future__ import annotations

import argparse
import http.client
import sys
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("-i", action="store_true")
parser.add_argument("-I", action="store_true")
parser.add_argument("-w", default="")
parser.add_argument("-X")
parser.add_argument("-H", action="append", default=[])
parser.add_argument("-d")
parser.add_argument("url")
given = parser.parse_args()

url = urlsplit(given.url)
method = given.X or ("HEAD" if given.I else "GET" if given.d is None else "POST")
headers = {name.strip(): value.strip() for name, _, value in (header.partition(":") for header in given.H)}
connection = http.client.HTTPConnection(url.netloc, timeout=60)
connection.request(method, url.path + (f"?{url.query}" if url.query else ""), given.d, headers)
answer = connection.getresponse()
head = f"HTTP/1.1 {answer.status} {answer.reason}\n{answer.headers}" if given.i or given.I else ""
end = given.w.replace("\\n", "\n") or "\n"
sys.stdout.write(f"{head}{answer.read().decode()}{end}")
