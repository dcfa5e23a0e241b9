"""The module that runs a half: a graph of operators over tensors that it shares, and nothing else.

A ``GraphModule`` keeps what export noted of every operator, example tensors included, and is pickled as code that is
traced again. A `Run` keeps the operators and, of the notes, the names of the modules that they came from; so it can be
copied, pickled and captured again, with the same names for its places.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.fx import Graph, GraphModule, Interpreter
from torch.fx.traceback import preserve_node_meta

from modelstitch.cut.place import CONTAINERS
from modelstitch.cut.spelling import STACK, graph_of, spelled


class Run(GraphModule):
    """A graph over shared tensors.

    Args:
        root: the tensors and modules that the graph names.
        graph: the operators; of their notes only the names of modules are kept.
        containers: of the modules that the operators came from, by path: whether each is a plain container.
    """

    containers: dict[str, bool]

    def __init__(self, root: Mapping[str, Any], graph: Graph, containers: Mapping[str, bool]) -> None:
        for node in graph.nodes:
            node.meta = {STACK: {str(key): (str(at[0]), "") for key, at in (node.meta.get(STACK) or {}).items()}}
        held = {name: _bare(value) for name, value in root.items()}
        super().__init__(held, graph, "Run")
        self.containers = dict(containers)

    def held(self) -> dict[str, Any]:
        """The tensors and modules that the graph names."""
        named = [node.target for node in self.graph.nodes if node.op in ("get_attr", "call_module")]
        return {str(name): getattr(self, str(name)) for name in dict.fromkeys(named)}

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        root = {name: copy.deepcopy(value, memo) for name, value in self.held().items()}
        memo[id(self)] = found = _made(root, copy.deepcopy(self.graph), self.containers, self.training)
        return found

    def __copy__(self) -> Run:
        return _made(self.held(), copy.deepcopy(self.graph), self.containers, self.training)

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, (self.held(), spelled(self.graph), self.containers, self.training)


def _made(root: Mapping[str, Any], graph: Graph, containers: Mapping[str, bool], training: bool) -> Run:
    found = Run(root, graph, containers)
    found.training = training
    return found


def _read(root: Mapping[str, Any], nodes: list[Mapping[str, Any]], containers: Mapping[str, bool], mode: bool) -> Run:
    return _made(root, graph_of(nodes, trusted=True), containers, mode)


def _bare(value: Any) -> Any:
    """A module called from the graph (an autocast region and the like) as a run as well."""
    if not isinstance(value, GraphModule) or isinstance(value, Run):
        return value
    named = [node.target for node in value.graph.nodes if node.op in ("get_attr", "call_module")]
    return Run({str(name): getattr(value, str(name)) for name in named}, copy.deepcopy(value.graph), {})


@contextmanager
def followed(view: nn.Module) -> Iterator[None]:
    """Within it, runs inside a network tell an export which modules their operators came from."""
    runs = {path: module for path, module in view.named_modules() if isinstance(module, Run)}
    for path, run in runs.items():
        # On the instance, where it hides the class's own until the block ends.
        run.__dict__["forward"] = _Telling(run, path)
    try:
        yield
    finally:
        for run in runs.values():
            del run.__dict__["forward"]


class _Telling:
    """Runs a graph operator by operator, each under the names of its modules, put behind the path of the run."""

    def __init__(self, run: Run, path: str) -> None:
        self._run, self._graph = run, copy.deepcopy(run.graph)
        above, _, last = path.rpartition(".")
        self._prefix = above if last == "run" else path
        outer = _outer(path)
        for node in self._graph.nodes:
            stack = {
                f"{path}@{key}": (_joined(self._prefix, at), "") for key, (at, _) in node.meta[STACK].items() if at
            }
            node.meta = {STACK: outer | stack}

    def __call__(self, *inputs: Any) -> Any:
        with preserve_node_meta():
            return Interpreter(self._run, graph=self._graph).run(*inputs)


def _outer(path: str) -> dict[str, tuple[str, str]]:
    parts = [part for part in path.split(".") if part]
    if parts and parts[-1] == "run":
        parts = parts[:-1]
    paths = ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]
    return {f"@{at}": (at, "") for at in paths}


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def modules_of(view: nn.Module) -> dict[str, nn.Module]:
    """The modules of a network by path; of a run inside it, stand-ins for the modules that it was made from."""
    # A module registered under two names may run under either.
    found = dict(view.named_modules(remove_duplicate=False))
    for path, run in list(found.items()):
        if not isinstance(run, Run):
            continue
        above, _, last = path.rpartition(".")
        prefix = above if last == "run" else path
        # A half is a part of a network, as a container is, and no block.
        standing: dict[str, nn.Module] = {"": nn.Sequential()}
        for at, container in run.containers.items():
            standing[at] = nn.Sequential() if container else nn.Module()
            parent, _, name = at.rpartition(".")
            if parent in standing:
                standing[parent].add_module(name, standing[at])
        found.update({_joined(prefix, at): one for at, one in standing.items() if _joined(prefix, at)})
    return found


def containers_of(modules: Mapping[str, nn.Module]) -> dict[str, bool]:
    """Which modules are plain containers, for `Run`; parents come before their children."""
    return {path: isinstance(module, CONTAINERS) for path, module in modules.items() if path}
