"""The command `lep6`. Subcommands load when they are called."""

import importlib
from typing import Any, Final

import click

EXIT_NO: Final = 1
"""The answer is no: damage was found, or bytes differ."""
EXIT_CANNOT: Final = 3
"""What is there does not suffice."""
EXIT_BAD_INPUT: Final = 4
"""An input, or the machine, is not as it must be; the message says what."""
EXIT_INTERRUPTED: Final = 130
EXIT_UNREAD: Final = 141
"""Whoever read the output has gone. It is what a shell sees of other programs then."""

_GROUPS: Final = {
    "cascade": ("lep6.cli.cascade", "Encode, decode and check files of symbols."),
    "config": ("lep6.cli.config", "Check, show and begin a configuration file."),
    "devnet": ("lep6.cli.devnet", "A Lumera network in a box."),
    "doctor": ("lep6.cli.doctor", "Find out what is wrong with a node."),
    "limits": ("lep6.cli.limits", "How much the running daemon does at a time."),
    "ops": ("lep6.cli.ops", "The heal ops that the running daemon has anything of."),
    "pause": ("lep6.cli.pause", "Let the running daemon begin nothing new."),
    "run": ("lep6.cli.run", "Heal, as a daemon."),
    "resume": ("lep6.cli.pause", "Let the running daemon begin new work again."),
    "status": ("lep6.cli.status", "Show how the running daemon is."),
}
"""The module of each subcommand, and what it is for. The command is the module's `group`, or has the name itself."""


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """See `click.Command.main`."""
        from lep6.cli.output import flushed  # noqa: PLC0415 # it has the exit codes from here

        with flushed():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        from lep6.cli.output import taken  # noqa: PLC0415 # as above

        with taken():  # before click, which would end with 1
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of the subcommands."""
        return sorted(_GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand of a name."""
        if cmd_name not in _GROUPS:
            return None
        module = importlib.import_module(_GROUPS[cmd_name][0])
        command = getattr(module, "group", None) or getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in sorted(_GROUPS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lep6")
def main() -> None:
    """The self-healing runtime of the Lumera storage network.

    Exit codes: 0 done; 1 the answer is no (damage found, bytes differ); 2 wrong usage; 3 what is there does not
    suffice; 4 an input or the machine is not as it must be; 130 interrupted; 141 whoever read the output has gone.
    """
