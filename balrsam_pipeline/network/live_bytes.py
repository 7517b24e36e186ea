"""How many bytes of tensors are alive at once: every storage that an operation makes, until it is freed.

Works on real, fake and meta tensors alike; on the latter two nothing is allocated. What a kernel takes for
itself while it runs is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the context, `now` and `peak` count bytes of storages made since it was entered; `course` is how
    many were alive after each operation.

    Args:
        existing: tensors made before, whose storages do not count when they are seen again (as views).
        block_bytes: storages take whole blocks of this size, as allocators give them.

    Example:
        >>> import torch
        >>> with LiveBytes() as live:
        ...     x = torch.ones(100) + 1
        >>> live.now, live.peak
        (400, 800)
    """

    def __init__(self, existing: Iterable[Tensor] = (), block_bytes: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._existing = {_key(tensor.untyped_storage()) for tensor in existing}
        self.now = self.peak = 0
        self.course: list[int] = []
        self._block_bytes = block_bytes
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and note what it made."""
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        self.course.append(self.now)
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = _key(storage)
        if key in self._storages or key in self._existing:
            return
        size = -(-storage.nbytes() // self._block_bytes) * self._block_bytes
        self._storages[key] = weakref.ref(storage, lambda _: self._free(key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _free(self, key: int, size: int) -> None:
        del self._storages[key]
        self.now -= size


def _key(storage: torch.UntypedStorage) -> int:
    return int(storage._cdata)  # an address of data would be 0 for every fake tensor
