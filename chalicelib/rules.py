"""Who may call what: the one table that the authorizer and the middleware read.

A row is a route as in `@app.route`, and the roles that may call it. A route that is in no row is closed to everyone;
`PUBLIC` (from chalicelib.guard) is the row of a route that needs no token.
"""

READERS = frozenset({"user", "admin"})
WRITERS = frozenset({"admin"})

RULES = {
    ("GET", "/protected-resource"): READERS,
    ("POST", "/protected-resource"): WRITERS,
}
