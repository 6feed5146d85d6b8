"""The command line: `live-emotion COMMAND --help` tells what each command does.

In: arguments. Out: text or JSON Lines, and an exit status: 0 done, 2 wrong usage or unreadable
input, 1 failure. Each command lives beside what it drives, in `commands` of `web`, `realtime` and
`models`.
"""

# ruff: noqa: E402
from __future__ import annotations

import signal

# Ctrl-C while the modules load, which takes half a second, ends the program without a traceback.
_on_interrupt = signal.getsignal(signal.SIGINT)
if _on_interrupt is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import io
import logging
import sys
import traceback
from typing import NoReturn

import typer

import models.commands
import realtime.commands
import web.commands
from models.console import cannot_be_written, complain, open_standard_streams
from models.errors import AnalyserError, UsageError
from models.libraries import cannot_load, unloadable
from realtime.leaving import leave

signal.signal(signal.SIGINT, _on_interrupt)

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback(invoke_without_command=True)(web.commands.dashboard)
app.add_typer(web.commands.app)
app.add_typer(realtime.commands.app)
app.add_typer(models.commands.weights, name="models", rich_help_panel=models.commands.PANEL)
app.add_typer(models.commands.training)
app.add_typer(models.commands.evaluate, name="evaluate", rich_help_panel=models.commands.PANEL)


def main() -> int:
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what it cannot print must not end the program
            stream.reconfigure(errors="replace")
    try:
        return int(app(standalone_mode=False) or 0)
    except UsageError as error:
        complain(str(error))
        return 2
    except AnalyserError as error:
        complain(str(error))
        return 1
    except _WRONG_OPTIONS as error:
        command = error.ctx.command_path if error.ctx else "live-emotion"
        complain(f"{error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except ImportError as error:
        complain(str(unloadable(error)))
        return 2
    except OSError as error:
        return _failed(error)
    except SystemExit as error:  # by which the command line library tells of a closed pipe
        return int(error.code or 0)
    except Exception:
        traceback.print_exc()
        return 1


def _failed(error: OSError) -> int:
    """The exit status of an error of the system, which is told as far as it is to be expected."""
    if cannot_load(error):
        complain(str(unloadable(error)))
        return 2
    if isinstance(error, BrokenPipeError):
        return 1  # whoever read our output has gone, as in `| head`
    if cannot_be_written(error):
        complain(f"the output cannot be written ({error.strerror}): make room, or write elsewhere")
        return 1
    traceback.print_exception(error)
    return 1


# The command line library's own error for a wrong option, of which BadParameter is one kind.
_WRONG_OPTIONS = typer.BadParameter.__mro__[1]


def console() -> NoReturn:
    """The console command `live-emotion`: runs the command line, and ends the program."""
    leave(main())


if __name__ == "__main__":
    console()
