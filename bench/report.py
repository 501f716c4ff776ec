"""Measurements as tables in Markdown and as a chart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: make bench DOCS=1 writes them -->", "<!-- end of figures -->"


def as_markdown(results: dict[str, Any]) -> str:
    """Return a table of the contenders, one of the outcomes, one of the sizes of a table of rules."""
    by_name = {one["name"]: one for one in results["contenders"]}
    plain = by_name["plain"]
    lines = [
        "| | cold start to first decision | of `plain` | its processor time | of `plain` | first request after INIT"
        " | warm decision, allowed | of `plain` | peak memory | package |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in results["contenders"]:
        warm, base = one["warm_us"].get("allowed"), plain["warm_us"]["allowed"]
        lines.append(
            f"| {one['name']} | {one['cold_ms']:.0f} ms | {one['cold_ms'] / plain['cold_ms']:.2f}"
            f" | {one['cpu_ms']:.0f} ms | {one['cpu_ms'] / plain['cpu_ms']:.2f}"
            f" | {one['first_ms']:.1f} ms | "
            + (f"{warm:.0f} µs | {warm / base:.2f}" if warm else "- | -")
            + f" | {one['peak_mib']:.0f} MiB | {one['zip_kib']:.0f} KiB |"
        )
    ours = results["contenders"][0]
    others = [one for one in results["contenders"] if one["warm_us"]]
    lines += ["", "| a warm decision, of `plain`'s for the same | " + " | ".join(ours["warm_us"]) + " |"]
    lines.append("| --- |" + " --- |" * len(ours["warm_us"]))
    for one in others:
        cells = (f"{us / plain['warm_us'][name]:.2f}" for name, us in one["warm_us"].items())
        lines.append(f"| {one['name']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| rules in the table | cold start | first request after INIT | warm decision | of it ours | of 10 rules"
        " | answer |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    ten = results["tables"][0]["handler_us"]["allowed"]
    for one in results["tables"]:
        warm, handler = one["warm_us"]["allowed"], one["handler_us"]["allowed"]
        lines.append(
            f"| {one['name'].split()[0]} | {one['cold_ms']:.0f} ms | {one['first_ms']:.1f} ms | {warm:.0f} µs"
            f" | {handler:.0f} µs | {handler / ten:.2f} | {one['answer_bytes']} bytes |"
        )
    rounds = results["rounds"]
    lines += [
        "",
        f"Python {results['python']}; cold: the median of {rounds['cold']} starts; warm: the least of {rounds['warm']}"
        f" processes' medians, each of {rounds['times']} decisions of each outcome in batches of ten; all interleaved.",
    ]
    return "\n".join(lines)


def chart(results: dict[str, Any]) -> str:
    """Return an SVG: two bars a contender, as ratios to `plain`; what does not fit is cut off and says its figure."""
    plain = next(one for one in results["contenders"] if one["name"] == "plain")
    shown = [one for one in results["contenders"] if one["warm_us"]]
    left, width, row, most = 210, 420, 46, 2.0
    height = 50 + row * len(shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" font-family="sans-serif"'
        ' font-size="13" role="img">',
        "<title>Cold start and warm decision as ratios to a PyJWT handler written by hand; less is better</title>",
        f'<rect width="{left + width + 90}" height="{height}" fill="#ffffff"/>',
        f'<rect x="{left}" y="10" width="12" height="12" fill="#2f6f9f"/>'
        f'<text x="{left + 18}" y="21">cold start to first decision</text>',
        f'<rect x="{left + 200}" y="10" width="12" height="12" fill="#e0a030"/>'
        f'<text x="{left + 218}" y="21">warm decision (plain = 1)</text>',
    ]
    for number, one in enumerate(shown):
        top = 36 + number * row
        parts.append(f'<text x="{left - 10}" y="{top + 22}" text-anchor="end">{one["name"]}</text>')
        ratios = (one["cold_ms"] / plain["cold_ms"], one["warm_us"]["allowed"] / plain["warm_us"]["allowed"])
        for place, (ratio, colour) in enumerate(zip(ratios, ("#2f6f9f", "#e0a030"), strict=True)):
            long = min(ratio, most) / most * width
            y = top + place * 17
            parts.append(f'<rect x="{left}" y="{y}" width="{long:.0f}" height="15" fill="{colour}"/>')
            # In a column of their own, where neither a bar nor the line of `plain` runs through them.
            parts.append(f'<text x="{left + width + 8}" y="{y + 12}">{ratio:.2f}{" →" * (ratio > most)}</text>')
    one = left + width / most
    parts.append(f'<path d="M{one:.0f} 30V{height - 8}" stroke="#777777" stroke-dasharray="4 3"/></svg>')
    return "\n".join(parts) + "\n"


def write(results: dict[str, Any], folder: Path) -> None:
    (folder / "performance.md").write_text(as_markdown(results) + "\n")
    (folder / "performance.svg").write_text(chart(results))


def write_docs(results: dict[str, Any], docs: Path) -> None:
    """Put the tables between the marks of performance.md, and the chart beside it."""
    (docs / "performance.svg").write_text(chart(results))
    page = docs / "performance.md"
    marked = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    page.write_text(marked.sub(lambda _: f"{BEGIN}\n\n{as_markdown(results)}\n\n{END}", page.read_text()))
