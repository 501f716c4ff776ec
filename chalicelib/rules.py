"""Who may call what: the one table that the authorizer and the middleware read."""

# A row is a route as in `@app.route`, and the roles that may call it. A route that is in no row is closed to everyone.
# From chalicelib.guard: `PUBLIC` is the row of a route that needs no token; `SUPPORT | OWNER` also lets in the caller
# whose subject is the path's `{sub}`.

READERS = frozenset({"user", "admin"})
WRITERS = frozenset({"admin"})

RULES = {
    ("GET", "/protected-resource"): READERS,
    ("POST", "/protected-resource"): WRITERS,
}
