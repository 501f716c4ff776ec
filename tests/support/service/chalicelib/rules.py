"""The table of the engine's own service."""

from chalicelib.guard import OWNER, PUBLIC

READERS = frozenset({"user", "admin"})
WRITERS = frozenset({"admin"})
SUPPORT = frozenset({"support"})

RULES = {
    ("GET", "/items"): READERS,
    ("POST", "/items"): WRITERS,
    ("GET", "/reports/{report_id}"): WRITERS | SUPPORT,
    ("GET", "/users/{sub}/orders"): SUPPORT | OWNER,
    ("GET", "/health"): PUBLIC,
}
