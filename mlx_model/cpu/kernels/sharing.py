"""How threads that all run one program share its work: chunks are taken by a ticket, and nobody waits for absentees.

A program is a sequence of phases. Each has some chunks; a thread takes the next one until none is left, and goes on to
the next phase when all chunks of this one are done. Which threads did them doesn't matter: one that is late, asleep or
suspended by the system and holds no chunk delays nobody, finds later that phases have passed, and skips them.

`state` is int64 [1 + threads, 16 + SCRATCH], and its rows begin with a cache line, so that threads don't disturb each
other:

    state[0, 0]     the phase (upper 32 bits) and the next ticket (lower 32 bits), one word that is compared and swapped
    state[0, 8]     chunks of this phase that are done
    state[0, 9]     threads that sleep until the phase changes
    state[1 + i, 0] the phase that thread i is in; state[1 + i, 1] whether it holds a chunk
    state[1 + i, 16:]   memory that thread i uses within a chunk

A thread that finds no chunk spins for some ten microseconds and then sleeps (Linux' futex): beside other load, spinning
threads would take the processor from those that work. Sleepers are woken by the first ticket of a phase that has
several chunks, so that what one thread does alone wakes nobody, and by each thread that ends its program.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels import vectors as v

_WORD, _DONE, _SLEEPERS, _PHASE, _HOLDS = 0, 8, 9, 0, 1
_HEAD = 16
SCRATCH = 8192
"""Words of 8 bytes that each thread has for its own use."""
_SPINS = 400
"""Turns of waiting before a thread sleeps: a turn takes 20 to 70 ns."""
_LOW = 0xFFFFFFFF
_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # within this process (FUTEX_PRIVATE_FLAG)
_SYS_FUTEX = 98 if v.ARM else 202


def new_state(threads: int) -> NDArray[np.int64]:
    """What a team of threads shares."""
    words = (1 + threads) * (_HEAD + SCRATCH)
    spare = np.zeros(words + _HEAD, np.int64)
    first = -spare.ctypes.data // 8 % _HEAD
    return spare[first : first + words].reshape(1 + threads, -1)


def _address(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    """Of state[0, index], where these are the first two arguments."""
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]], source_etype=ir.IntType(64))


@v.emitted
def _read(typingctx: Any, state: Any, index: Any) -> Any:
    """state[0, index], before anything that follows is read."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.load_atomic(_address(context, builder, sig, args), "acquire", 8)

    return types.int64(state, types.int64), codegen


@v.emitted
def _write(typingctx: Any, state: Any, index: Any, value: Any) -> Any:
    """state[0, index] = value, after everything that precedes has been written."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        builder.store_atomic(args[2], _address(context, builder, sig, args), "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.int64, types.int64), codegen


@v.emitted
def _add(typingctx: Any, state: Any, index: Any, value: Any) -> Any:
    """state[0, index] += value; what it was."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.atomic_rmw("add", _address(context, builder, sig, args), args[2], "seq_cst")

    return types.int64(state, types.int64, types.int64), codegen


@v.emitted
def _swap(typingctx: Any, state: Any, index: Any, old: Any, new: Any) -> Any:
    """Whether state[0, index] was `old` and is `new` now."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        address = _address(context, builder, sig, args)
        return builder.extract_value(builder.cmpxchg(address, args[2], args[3], "seq_cst", "acquire"), 1)

    return types.boolean(state, types.int64, types.int64, types.int64), codegen


@v.emitted
def _pause(typingctx: Any) -> Any:
    """A moment in a loop that waits."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        if v.ARM:
            v.intrinsic_call(builder, "llvm.aarch64.isb", ir.VoidType(), [v.INT(15)])
        else:
            v.intrinsic_call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        return context.get_dummy_value()

    return types.void(), codegen


@v.emitted
def _futex(typingctx: Any, state: Any, index: Any, operation: Any, value: Any) -> Any:
    """Sleeps while the upper half of state[0, index] is `value`, or wakes so many sleepers. It may return early."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        long = ir.IntType(64)
        word = builder.ptrtoint(_address(context, builder, sig, args), long)
        kind = ir.FunctionType(long, [long], var_arg=True)
        call = cgutils.get_or_insert_function(builder.module, kind, "syscall")
        upper = builder.add(word, long(4))  # of a little-endian word
        builder.call(call, [long(_SYS_FUTEX), upper, args[2], args[3], long(0), long(0), long(0)])
        return context.get_dummy_value()

    return types.void(state, *[types.int64] * 3), codegen


@kernel
def begin(state: Any, part: int, phase: int) -> None:
    """Thread `part` starts a program whose first phase is number `phase`."""
    state[1 + part, _PHASE] = phase
    state[1 + part, _HOLDS] = 0


@kernel
def holds(state: Any, part: int) -> Any:
    """Whether thread `part` has taken a chunk and not yet asked for the next."""
    return state[1 + part, _HOLDS] != 0


@kernel
def phase_of(state: Any) -> Any:
    """The phase in which the next program begins."""
    return (_read(state, _WORD) >> 32) & _LOW


@kernel
def wake(state: Any) -> None:
    """Wakes threads that sleep in a program which is over."""
    # Read by an addition, which waits until all have what was written before it: else one that is about to sleep might
    # not see that the phase has changed, and not be seen here.
    if _add(state, _SLEEPERS, 0) > 0:
        _futex(state, _WORD, _FUTEX_WAKE, 1 << 30)


@kernel
def abandon(state: Any) -> None:
    """Ends a program that can't be finished: its threads find all its phases passed.

    Those that hold a chunk count it still. So `forget` must follow before the next program, when they have ended.
    """
    _write(state, _WORD, ((_read(state, _WORD) >> 32) + (1 << 24)) << 32)
    wake(state)


@kernel
def forget(state: Any) -> None:
    """Drops what an abandoned program has counted, once no thread runs it any more."""
    _write(state, _DONE, 0)


@kernel
def take(state: Any, part: int, chunks: int) -> Any:
    """The next chunk of this phase, 0 .. chunks - 1, for thread `part`; -1 when all of them are done, by whomever.

    Asking again says that the chunk taken before is done. After -1 the thread is in the next phase.
    """
    mine = state[1 + part, _PHASE]
    following = (mine + 1) & _LOW
    if state[1 + part, _HOLDS]:
        state[1 + part, _HOLDS] = 0
        if _add(state, _DONE, 1) == chunks - 1:
            _write(state, _DONE, 0)
            _swap(state, _WORD, mine << 32 | chunks, following << 32)  # fails if the program has been abandoned
            state[1 + part, _PHASE] = following
            return -1
    spins = 0
    while True:
        word = _read(state, _WORD)
        if (word >> 32) & _LOW != mine:
            state[1 + part, _PHASE] = following
            return -1
        ticket = word & _LOW
        if ticket < chunks:
            if _swap(state, _WORD, word, word + 1):
                state[1 + part, _HOLDS] = 1
                if ticket == 0 and chunks > 1 and _read(state, _SLEEPERS) > 0:
                    _futex(state, _WORD, _FUTEX_WAKE, 1 << 30)
                return ticket
        elif spins < _SPINS:
            spins += 1
            _pause()
        else:
            _add(state, _SLEEPERS, 1)
            _futex(state, _WORD, _FUTEX_WAIT, mine)
            _add(state, _SLEEPERS, -1)
