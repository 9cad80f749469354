"""The command line: a command parses, calls one function, prints. Nothing heavy is imported before a command runs.

Exit codes: 0 all photos answered; 1 the run could not start or go on; 2 the command line was wrong; 3 done, but some
photos were set aside; 130 interrupted.
"""

import sys

import typer

from carscribe.cli.app import app


def main() -> None:
    """Run the command line. Carscribe's own errors become one line."""
    # Their commands are the command line.
    from carscribe.cli import (  # noqa: F401
        backbones,
        checking,
        collecting,
        describing,
        evaluating,
        exporting,
        importing,
        machines,
        planning,
        training,
        workspaces,
    )
    from carscribe.errors import CarscribeError

    try:
        app()
    except CarscribeError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
