"""Reads a log line as CloudWatch does: https://docs.aws.amazon.com/AmazonCloudWatch/ (Embedded Metric Format)."""

from __future__ import annotations

import json
import time
from typing import Any

UNITS = {"Count", "Milliseconds", "Seconds"}
Metric = tuple[str, dict[str, str], str, float]


def metrics_of(text: str) -> list[Metric]:
    """Return namespace, dimensions, name and value of each metric; fail where CloudWatch would drop one."""
    line: dict[str, Any] = json.loads(text)
    found: list[Metric] = []
    if "_aws" not in line:
        return found
    assert set(line["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 3600
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"]
        assert directive["Dimensions"]
        assert directive["Metrics"]
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                assert metric["Unit"] in UNITS
                value = line[metric["Name"]]
                assert isinstance(value, int | float)
                assert not isinstance(value, bool)
                named = {name: line[name] for name in dimensions}
                assert all(isinstance(value, str) and 0 < len(value) <= 1024 for value in named.values())
                found.append((directive["Namespace"], named, metric["Name"], value))
    assert len(text.encode()) < 256 * 1024
    return found
