"""Which strategy multiplies a block of columns: the candidates, the timed trial, and the fallback after an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from landscape.compute.out_of_memory import is_out_of_memory
from landscape.compute.strategy import ProductSettings, Strategy
from landscape.compute.timing import fastest
from landscape.operators.cuda_graphs import recording_is_safe
from landscape.operators.graphs import Graph, GraphCache
from landscape.operators.pullback import INPLACE_MESSAGE, NoBatchingError

# Up to so many bytes of activations of all columns, vmap is preferred unless the loop is clearly faster; above,
# arithmetic outweighs launching. On CPUs, 8 columns at once were 1.6 to 2 times as fast at 0.2 and 1 MB.
VMAP_FIRST_BYTES = 2 << 20
CPU_VMAP_BYTES = 256 << 20  # most activations that columns of one call take on a CPU: more was never faster
COLUMN_ACTIVATIONS = 1.25  # memory of one column, in activations of a forward pass: 0.7 to 1.05 were measured
RECORDING_BYTES = 64 << 20  # activations of all columns above which a GPU is busy enough without CUDA graphs
GRAPH_KINDS = ("loop", "vmap")  # the strategies that share one gradient graph


@dataclass(frozen=True)
class ProductFacts:
    """The facts about a product on which the candidates depend."""

    columns: int
    activation_bytes: int  # of the whole micro-batch
    device: str  # "cpu" or "cuda"
    room: int  # bytes that columns of one call may take
    traceable: bool  # whether the matrix can be linearized
    compilable: bool  # whether the matrix and the batch can be compiled: tensors alone enter a program


def candidates(facts: ProductFacts, settings: ProductSettings, graphs_fit: Callable[[], bool]) -> list[Strategy]:
    """The strategies to try, first the one that is kept unless another is clearly faster.

    `graphs_fit` says whether the graphs of all micro-batches can be kept; it is asked on CUDA only.
    """
    size, columns = max(facts.activation_bytes, 1), facts.columns
    fitting = int(facts.room / COLUMN_ACTIVATIONS)
    if facts.device == "cpu" and settings.hvp == "auto":
        fitting = min(fitting, CPU_VMAP_BYTES)
    together = max(1, min(columns, fitting // size))
    if settings.hvp == "linearize" and facts.traceable:
        return [Strategy("linearize", together)]
    vmap = [Strategy("vmap", together)] if together > 1 else []
    strategies = [Strategy(), *vmap] if columns * size > VMAP_FIRST_BYTES else [*vmap, Strategy()]
    if settings.hvp in ("loop", "vmap"):
        strategies = vmap if vmap and settings.hvp == "vmap" else [Strategy()]
    if _may_record(facts, settings, columns * size) and graphs_fit():
        recorded = [Strategy("recorded", strategy.columns) for strategy in strategies]
        strategies = recorded if settings.cuda_graphs == "on" else strategies + recorded
    return [*strategies, Strategy("compiled", columns)] if settings.compile and facts.compilable else strategies


def _may_record(facts: ProductFacts, settings: ProductSettings, size: int) -> bool:
    """Whether products may be recorded as CUDA graphs: when asked to, or where launching takes much of the time."""
    if facts.device != "cuda" or settings.cuda_graphs == "off":
        return False
    return settings.cuda_graphs == "on" or (size <= RECORDING_BYTES and recording_is_safe())


def fastest_strategy(
    strategies: Sequence[Strategy],
    graph_of: Callable[[Strategy], Graph],
    block: Tensor,
    add_note: Callable[[str], None],
) -> Strategy:
    """Times the product with a block by each strategy, on graphs that exist already, as in a long run.

    Strategies that fail are left out, with a note for programs. Errors of the loop are raised.
    """
    runs: dict[Strategy, Callable[[], Tensor]] = {}
    for strategy in strategies:
        try:
            run = partial(graph_of(strategy), block, chunk_size=strategy.columns, retain_graph=True)
            run()
        except NoBatchingError:
            continue
        except Exception as error:  # a compiler may raise anything
            if strategy.kind not in GRAPH_KINDS:
                add_note(failure_note(strategy, error))
            elif strategy.columns == 1 or not is_out_of_memory(error):
                raise
            continue
        runs[strategy] = run
    return fastest(runs) if runs else Strategy()


def fallback(strategy: Strategy, error: Exception, graphs: GraphCache, add_note: Callable[[str], None]) -> Strategy:
    """The strategy to continue with after an error; raises the error if there is none.

    When memory runs out, vmapped calls take half as many columns, then graphs are no longer kept. Programs that fail
    are replaced by the loop.
    """
    if is_out_of_memory(error):
        if strategy.columns == 1 and not graphs.stop_keeping():
            raise error
        halve = strategy.kind == "vmap" and strategy.columns > 3
        return Strategy("vmap", strategy.columns // 2) if halve else Strategy()
    if isinstance(error, RuntimeError) and INPLACE_MESSAGE in str(error) and graphs.never_keep():
        return strategy
    if strategy.kind not in ("compiled", "recorded"):
        raise error
    add_note(failure_note(strategy, error))
    return Strategy()


def failure_note(strategy: Strategy, error: Exception) -> str:
    """The note that products are not compiled, or not recorded, and why."""
    return f"products are not {strategy.kind}: {str(error).splitlines()[0]}"
