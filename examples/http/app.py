#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A web application with one job: a coupon can be redeemed once.

    app.py                 redeems some coupons twice
    app.py --for-update    locks the coupon's row: right
    app.py --mutex         locks in this process only

Knows nothing of sqloom. The database is where PGHOST, PGDATABASE and the like
say; listens on 127.0.0.1, port $PORT or 8123.
"""

import contextlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from psycopg2.pool import ThreadedConnectionPool

FOR_UPDATE = " FOR UPDATE" if "--for-update" in sys.argv else ""
MUTEX = threading.Lock() if "--mutex" in sys.argv else contextlib.nullcontext()

pool = ThreadedConnectionPool(1, 10, "")


@contextlib.contextmanager
def transaction():
    """A cursor; its transaction ends with the block."""
    connection = pool.getconn()
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        pool.putconn(connection)


def redeem(code):
    with MUTEX, transaction() as cursor:
        cursor.execute("SELECT used FROM coupon WHERE code = %s" + FOR_UPDATE,
                       (code,))
        row = cursor.fetchone()
        if row is None:
            return 404, "no such coupon"
        if row[0]:
            return 409, "used already"
        cursor.execute("UPDATE coupon SET used = true WHERE code = %s",
                       (code,))
        cursor.execute("INSERT INTO redemption (code) VALUES (%s)", (code,))
        return 200, "redeemed"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, "ok")

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        form = parse_qs(self.rfile.read(size).decode())
        if self.path == "/redeem" and "code" in form:
            self.answer(*redeem(form["code"][0]))
        else:
            self.answer(404, "POST /redeem code=...")

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8123"))
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
