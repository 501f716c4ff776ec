"""The access matrix: the table of rules as rows of cells."""

from __future__ import annotations

from chalicelib.guard.access import OWNER, PUBLIC, Table


def cells(table: Table) -> list[list[str]]:
    """Return a header, then a row a route; a column a role, or one for any caller where the table names no role."""
    roles = sorted(table.roles) or [""]
    rows = [["Method", "Path", *(role or "(any caller)" for role in roles)]]
    for (method, template), group in sorted(table.rules.items(), key=lambda item: item[0][::-1]):
        rows.append([method, template, *(_cell(role, group) for role in roles)])
    return rows


def _cell(role: str, group: frozenset[str]) -> str:
    if group == PUBLIC:
        return "public"
    return "yes" if role in group else "own" if group & OWNER else "-"


def as_text(table: list[list[str]]) -> str:
    """Return the rows in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
    return "\n".join(lines)


def as_markdown(table: list[list[str]]) -> str:
    header, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
