"""The peers' table, and regular ones of any size: what a table looks like that somebody keeps in order."""

from __future__ import annotations

Table = dict[tuple[str, str], frozenset[str]]

AREAS = 20
#: What the peers have in their code.
PEERS: Table = {("GET", "/items"): frozenset({"user", "admin"}), ("POST", "/items"): frozenset({"admin"})}


def regular(rules: int, areas: int = AREAS) -> Table:
    """Return a table of so many rules: areas of resources that are listed, read, made, replaced and deleted.

    A `clerk` reads everything in the first half of the areas, reads and writes in the next quarter, and may do
    nothing in the last; a `boss` may do everything.
    """
    table: Table = {}
    resources = rules // 5
    for number in range(resources):
        area = number * areas // resources
        readers = frozenset({"boss", "clerk"} if area < areas * 3 // 4 else {"boss"})
        writers = frozenset({"boss", "clerk"} if areas // 2 <= area < areas * 3 // 4 else {"boss"})
        one = f"/area-{area:02}/resource-{number:03}"
        table |= {("GET", one): readers, ("POST", one): writers, ("GET", f"{one}/{{id}}"): readers}
        table |= {("PUT", f"{one}/{{id}}"): writers, ("DELETE", f"{one}/{{id}}"): writers}
    return table
