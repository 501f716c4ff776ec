"""Routes in a file of their own."""

from __future__ import annotations

from typing import Any

from chalice.app import Blueprint

from chalicelib.guard import caller_of

patients = Blueprint(__name__)


@patients.route("/", methods=["GET"])
def list_patients() -> dict[str, Any]:
    return {"patients": ["7"], "for": caller_of(patients.current_request).subject}


@patients.route("/{patient_id}/notes", methods=["GET"])
def read_notes(patient_id: str) -> dict[str, Any]:
    return {"patient": patient_id, "notes": []}
