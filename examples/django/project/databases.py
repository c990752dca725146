# SPDX-License-Identifier: Apache-2.0
"""On which database the project runs: what DATABASE_URL says
("postgresql://user@host/name"), else what PostgreSQL's own variables say
(PGHOST, PGDATABASE ...), else SQLite."""

from urllib.parse import unquote, urlsplit


def from_environment(environ, directory):
    """The entry of settings.DATABASES."""
    if environ.get("DATABASE_URL"):
        return from_url(environ["DATABASE_URL"], directory)
    if "PGHOST" in environ or "PGDATABASE" in environ:
        return postgresql(
            name=environ.get("PGDATABASE", "example"),
            user=environ.get("PGUSER", ""),
            password=environ.get("PGPASSWORD", ""),
            host=environ.get("PGHOST", ""),
            port=environ.get("PGPORT", ""),
        )
    return sqlite(directory / "db.sqlite3")


def from_url(url, directory):
    parts = urlsplit(url)
    name = unquote(parts.path[1:])
    if parts.scheme == "sqlite":
        return sqlite(directory / (name or "db.sqlite3"))
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError(f"DATABASE_URL: neither PostgreSQL nor SQLite: {url}")
    # Not parts.hostname, which is in lower case: a host may be the directory
    # of a socket (%2Ftmp%2FServer).
    user, _, address = parts.netloc.rpartition("@")
    user, _, password = user.partition(":")
    host, _, port = address.partition(":")
    return postgresql(name, *map(unquote, (user, password, host, port)))


def postgresql(name, user, password, host, port):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": user,
        "PASSWORD": password,
        "HOST": host,
        "PORT": port,
    }


def sqlite(path):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
