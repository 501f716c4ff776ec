"""The access matrix: the table of rules as rows of cells, and its agreement with app.py."""

from __future__ import annotations

from chalicelib import rules


def declared_routes() -> dict[rules.Route, bool]:
    """Return the routes of app.py, and whether `jwt_authorizer` guards each."""
    from app import app  # here, so that a fault in app.py spoils only the commands that need it

    return {
        (method, template): getattr(entry.authorizer, "name", None) == "jwt_authorizer"
        for template, methods in app.routes.items()
        for method, entry in methods.items()
    }


def app_name() -> str:
    from app import app  # as above

    return app.app_name


def faults() -> list[str]:
    """Return a sentence for each disagreement between table and routes."""
    return rules.faults(declared_routes())


def cells() -> list[list[str]]:
    """Return a header, then a row a route; a column a role."""
    roles = sorted(rules.ROLES)
    table = [["Method", "Path", *roles]]
    for (method, template), group in sorted(rules.RULES.items(), key=lambda item: item[0][::-1]):
        may = ["public" if group == rules.PUBLIC else "yes" if role in group else "-" for role in roles]
        table.append([method, template, *may])
    return table


def as_text(table: list[list[str]]) -> str:
    """Return the rows in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
    return "\n".join(lines)


def as_markdown(table: list[list[str]]) -> str:
    header, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
