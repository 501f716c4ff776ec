"""Who may call what."""

from chalicelib.guard import PUBLIC

CARE = frozenset({"nurse", "doctor"})
DOCTORS = frozenset({"doctor"})

RULES = {
    ("GET", "/opening-hours"): PUBLIC,
    ("PUT", "/rota"): DOCTORS,
    ("GET", "/patients"): CARE,
    ("GET", "/patients/{patient_id}/notes"): DOCTORS,
}
