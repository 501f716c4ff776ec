"""Routes in a file of their own."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.guard import caller_of

reports = Blueprint(__name__)


@reports.route("/reports/{report_id}", methods=["GET"])
def read_report(report_id: str) -> dict[str, Any]:
    return {"report": report_id, "read_by": caller_of(reports.current_request).subject}
