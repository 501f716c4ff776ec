"""What each reason means and what to do about it, for `manage.py why`; run as a program, for docs/operating.md."""
# ruff: noqa: E501  # a row of a Markdown table is a line

import re
from pathlib import Path

TABLE = """\
| reason | answer | what it means | what to do |
| --- | --- | --- | --- |
| `bad_scheme` | 401 | the header names another scheme than Bearer | send `Authorization: Bearer <token>` with one space, or the token alone |
| `too_large` | 401 | the token is longer than 8 KB | have the issuer put less into it |
| `malformed` | 401 | not a JSON Web Token: three parts of base64url, and strict JSON (no member twice, no NaN) | copy the whole token, without quotes, spaces or line ends; look at how the client builds it |
| `critical_header` | 401 | the token's header has `crit`, and no extension is supported | have the issuer leave `crit` out |
| `wrong_token_type` | 401 | `typ` is not `JWT_TOKEN_TYPE`, or the token is a DPoP proof or bound to its sender (`cnf`) | send the access token, not an ID token or a proof; for `cnf`, have the issuer make plain bearer tokens |
| `wrong_algorithm` | 401 | `alg` is not in `JWT_ALGORITHMS` | sign with one that is; `none` is never accepted; RS, PS, ES and EdDSA are an identity provider's: set `JWT_JWKS_URL` |
| `unknown_key` | 401 | no key has this `kid` and algorithm | sign with a current key: after a rotation the signer may still use one that is older than the previous key |
| `bad_signature` | 401 | no current or previous key made this signature | use a token of this very stage, signed with a current key; many at once may be forgeries, see the alarms |
| `missing_claim` | 401 | `claim` is required, always or by a setting, and is missing | have the issuer add it |
| `wrong_claim_type` | 401 | `claim` has another JSON type or size than it must have | roles are a list of texts (`JWT_ROLES_FORMAT=space-separated`: one text), dates are numbers of seconds, `sub` is printable text of 1 to 255 bytes, `aud` is text or a list of texts, claims of `JWT_CALLER_CLAIMS` are short and no lists or objects |
| `expired` | 401 | `exp` has passed; from the middleware: it passed while API Gateway kept the answer | get a new token; if all tokens of an issuer expire early, set its clock right, or `JWT_LEEWAY_SECONDS` (up to 120) |
| `not_yet_valid` | 401 | `nbf` is in the future | wait; if the issuer's clock is ahead, set it right, or `JWT_LEEWAY_SECONDS` (up to 120) |
| `issued_in_future` | 401 | `iat` is in the future | the issuer's clock is ahead: set it right, or `JWT_LEEWAY_SECONDS` (up to 120) |
| `lifetime_too_long` | 401 | from `iat` to `exp` it is longer than `JWT_MAX_LIFETIME_SECONDS` | have shorter tokens issued, or raise the setting |
| `wrong_issuer` | 401 | `iss` is not exactly `JWT_ISSUER` | fix the setting (a slash at the end counts), or use a token of this environment |
| `wrong_audience` | 401 | the token is for none of `JWT_AUDIENCE`, or it names an audience and the setting is unset | fix the setting, or ask the issuer for a token for this API |
| `wrong_claim_value` | 401 | `claim` is not exactly what `JWT_REQUIRED_CLAIMS` says | fix the setting, or send the right kind of token: an access token, not an ID token |
| `revoked` | 401 | the sessions of this subject, or everyone's, were ended after the token was issued | sign in again: tokens that are issued later are valid; one without `iat` counts as issued before; `manage.py revoke --list` shows the list, `--forget` takes a subject off it |
| `no_permission` | 403 | the token is valid, and no role of it may do this; `roles` in the log are those that the table knows | `manage.py rules` shows who may: have the issuer give the caller such a role, or change `chalicelib/rules.py` |
| `not_owner` | 403 | the caller may do this to its own alone, and the path names another | put the token's `sub` into the path, percent-encoded; `manage.py rules` shows which roles may for others |
| `no_caller` | 401 | the API's function got no valid authorizer context: it was invoked past the gateway, or no authorizer is in front of the route | let API Gateway alone invoke it; register each route in app.py before `guard.protect(jwt_authorizer)` |
| `bad_setting` | 500 | a setting is wrong; `detail` names it and the fix | fix it in `.chalice/config.json`, and deploy |
| `keys_unavailable` | 500 | there is no key, or none that is fresh enough; `detail` says why | see "Secrets Manager is away" in docs/operating.md |
| `answer_too_large` | 500 | the policy for the caller's roles is larger than API Gateway takes | `manage.py deploy` names the roles: give callers fewer of them, or the table fewer paths |
| `unexpected` | 500 | a fault in the guard; `detail` names the place | report it; nobody was let in, and no answer was kept |
"""
#: By the reason's code: status, meaning and what to do.
TEXTS = {code: its for code, *its in re.findall(r"(?m)^\| (\w+) \| (\d+) \| (.+) \| (.+) \|$", TABLE.replace("`", ""))}

if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "operating.md"
    before, _, after = page.read_text().partition(TABLE.splitlines()[0])
    page.write_text(before + TABLE + after[after.index("\n\n") + 1 :])
