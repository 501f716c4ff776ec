"""What the operator can mend, said in one sentence; `manage.py` exits with 2."""

import click


class Fault(click.ClickException):
    exit_code = 2
