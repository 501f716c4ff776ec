"""Whose `/users/{sub}/orders` a path is: a caller's subject, the segment of the path, and whether it is its own."""

from __future__ import annotations

COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"

OWNERS: list[tuple[str, str, bool]] = [
    ("alice", "alice", True),
    ("alice", "bob", False),
    ("alice", "alic", False),
    ("alice", "alice.", False),
    ("alice", "alice;x=1", False),
    # Letter case counts.
    ("alice", "Alice", False),
    ("Alice", "alice", False),
    # Percent-encoding is taken off once, in either letter case, and never twice.
    ("alice", "%61lice", True),
    ("alice", "%61%6C%69%63%65", True),
    ("alice", "%61%6c%69%63%65", True),
    ("alice", "%2561lice", False),
    ("%61lice", "%2561lice", True),
    ("%61lice", "%61lice", False),
    ("a b", "a%20b", True),
    ("a b", "a+b", False),
    ("a+b", "a+b", True),
    ("a+b", "a%2Bb", True),
    ("auth0|7", "auth0%7C7", True),
    ("auth0|7", "auth0|7", True),
    ("alice", "alice%00", False),
    ("alice", "%20alice", False),
    # UTF-8, byte for byte: another normal form is another subject, and octets that are no UTF-8 are nobody's.
    (COMPOSED, "Zo%C3%AB", True),
    (COMPOSED, "Zoe%CC%88", False),
    (DECOMPOSED, "Zoe%CC%88", True),
    (DECOMPOSED, "Zo%C3%AB", False),
    (COMPOSED, "Zo%EB", False),
    ("alice", "alice%FF", False),
    ("\ufffd", "%FF", False),
    ("\ufffd", "%EF%BF%BD", True),
    ("alice", "%C1%A1lice", False),  # an overlong `a`
    # What is a wildcard in a policy is a character like any other here.
    ("*", "*", True),
    ("*", "alice", False),
    ("al*", "alice", False),
    ("alice", "*", False),
    ("?????", "alice", False),
    ("?????", "%3F%3F%3F%3F%3F", True),
    ("100%", "100%25", True),
    ("100%", "100%2525", False),
    # Nobody owns what a segment of a path cannot hold, or what somebody on the way may resolve.
    ("a/b", "a%2Fb", False),
    ("a/b", "a%252Fb", False),
    ("/", "%2F", False),
    (".", ".", False),
    (".", "%2E", False),
    ("..", "..", False),
    ("..", "%2E%2e", False),
    ("alice", "", False),
    ("...", "...", True),
]
