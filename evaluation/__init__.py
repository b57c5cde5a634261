"""Measure networks. What goes wrong ends a script with one line and a status: `refusals`."""

import contextlib
import sys

from models.properties import BadModel
from utils import printable


class Refused(Exception):
    """What cannot be measured: a message of one line."""


@contextlib.contextmanager
def refusals(program):
    """Run a script. Errors that a user can correct end it: status 2 for wrong input, else 1."""
    try:
        yield
    except (Refused, BadModel) as error:
        message, status = error, 2
    except ModuleNotFoundError as error:
        advice = f"run `make setup`, then .venv/bin/python {program}"
        message, status = f"{error.name} is not installed: {advice}", 2
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that vanished
        message, status = f"{printable(error.filename or 'output')}: {error.strerror or error}", 1
    else:
        return
    print(f"{program}: {message}", file=sys.stderr)
    sys.exit(status)
