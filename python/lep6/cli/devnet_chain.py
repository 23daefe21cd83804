"""`lep6 devnet chain`: the chain in a box as a node that any client can talk to."""

import signal
import sys
from pathlib import Path

import click
import trio

from lep6.blocking import Threads, WallClock
from lep6.cli.terminal import print_json, run
from lep6.devnet.chain import Chain, ChainParams
from lep6.devnet.chain_server import ChainServer, plant, read_seed
from lep6.devnet.chain_server.block_clock import DEFAULT_SECONDS
from lep6.errors import InvalidAddress
from lep6.grpc.dial import listening_place
from lep6.observe import Progress

JSON_VERSION = 1


@click.command()
@click.option("--listen", default="127.0.0.1:0", show_default=True, help="Where to listen; port 0 is any that is free.")
@click.option("--chain-id", default="lumera-devnet-1", show_default=True, help="The chain's id.")
@click.option(
    "--block-seconds",
    default=DEFAULT_SECONDS,
    show_default=True,
    type=click.FloatRange(0.0),
    help="From one block to the next; 0: only when the admin service is asked.",
)
@click.option("--epoch-blocks", default=400, show_default=True, type=click.IntRange(1), help="Blocks of an epoch.")
@click.option(
    "--deadline-epochs", default=3, show_default=True, type=click.IntRange(1, 10_000), help="Epochs a heal op has."
)
@click.option(
    "--probation-epochs",
    default=ChainParams().probation_epochs,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Epochs for which a ticket is left alone after a heal op.",
)
@click.option(
    "--genesis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the chain knows to begin with: a Seed of proto/lep6/devnet/v1/admin.proto as JSON.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the address as a line of JSON for programs.")
def chain(
    *,
    listen: str,
    chain_id: str,
    block_seconds: float,
    epoch_blocks: int,
    deadline_epochs: int,
    probation_epochs: int,
    genesis: Path | None,
    as_json: bool,
) -> None:
    """Serve a chain in a box over gRPC until SIGINT or SIGTERM.

    It prints its address as one line, then serves the queries and the transaction service of a Lumera node, and an
    admin service of its own that adds accounts, moves time and orders faults.
    """
    try:
        host, port = listening_place(listen)
    except InvalidAddress as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    params = ChainParams(epoch_length=epoch_blocks, deadline_epochs=deadline_epochs, probation_epochs=probation_epochs)

    async def work(blocking: Threads, _progress: Progress) -> None:
        served = Chain(genesis_params=params, chain_id=chain_id, genesis_time=WallClock().now())
        if genesis is not None:
            plant(served, read_seed(await blocking.run(genesis.read_bytes)))
        server = ChainServer(served, block_seconds=block_seconds or None)
        server.blocks.make()
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with server.listening(host, port) as (bound_host, bound_port):
                name = f"[{bound_host}]" if ":" in bound_host else bound_host
                _tell(f"{name}:{bound_port}", chain_id, as_json=as_json)
                async for _ in signals:
                    break

    run(work)


def _tell(address: str, chain_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"version": JSON_VERSION, "address": address, "chain_id": chain_id})
    else:
        click.echo(address)
    sys.stdout.flush()
