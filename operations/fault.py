"""What the operator can fix, said in a sentence; `manage.py` exits with 2."""

import click


class Fault(click.ClickException):
    exit_code = 2
