"""What a block does of itself, before and after its transactions (chain contract §4.2)."""

from attrs import evolve

from lep6.devnet.chain.endings import expire, prune
from lep6.devnet.chain.epochs import EpochAnchor
from lep6.devnet.chain.scheduling import schedule
from lep6.devnet.chain.state import State


def begin_block(state: State, time: float) -> State:
    """The next height's state before its transactions. `time` is in seconds since the Unix epoch."""
    state = evolve(state, height=state.height + 1, time=time, events=())
    epoch = state.epoch
    if state.height != epoch.first_height or epoch.epoch_id in state.anchors:
        return state
    anchor = EpochAnchor.of(epoch, state.supernodes.values())
    return evolve(state, anchors={**state.anchors, epoch.epoch_id: anchor})


def end_block(state: State) -> State:
    """The height's state after its transactions. The enforcement against supernodes is not simulated."""
    if state.height != state.epoch.last_height:
        return state
    return prune(schedule(expire(state)))
