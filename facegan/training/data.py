"""Batches of real images, as a function of (seed, images_seen).

In: the shards' images in uint8, and their labels. Out: uint8 batches (B, 3, H, W) and one-hot labels on the training device. The order of
the images depends only on the seed and on the number of images before, so a resumed run needs no other state, and several processes agree
without communication.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from facegan.common.devices import free_memory
from facegan.common.labels import Column, encode

SHARE_OF_MEMORY = 0.5  # of the device's free memory may be used for the data set; the networks need the rest


def derive_seed(*numbers: int) -> int:
    """Returns a seed below 2^63 that depends on all numbers; similar numbers give unrelated seeds."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


class Batches:
    """The order of the images, and the images themselves.

    Args:
        shards: uint8 tensors (n, 3, H, W), mapped from files.
        labels: their labels, uint8 (N, columns), positions of values.
        columns: of the labels.
        order: "shuffled" uses a new permutation for each epoch; "in_order" uses the order of the files.
        seed: of the permutations.
        device: of the batches. The complete data set is copied to a GPU if it fits into half of its free memory; otherwise it stays
            mapped, which processes share, and batches are read one at a time; for a GPU, the next one by a thread while the GPU computes.
    """

    def __init__(self, shards: list[Tensor], labels: Tensor, columns: Sequence[Column], order: str, seed: int, device: torch.device):
        self.columns = columns
        self.count = sum(len(shard) for shard in shards)
        self.order = order
        self.seed = seed
        self.device = device
        self.permutations: dict[int, Tensor] = {}  # of the last two epochs
        self.ahead: list[tuple[Tensor, Future[Tensor]]] = []  # indices, and their images
        size = sum(shard.nbytes for shard in shards)
        self.resident = device.type != "cpu" and size <= SHARE_OF_MEMORY * free_memory(device)
        self.labels = labels.to(device) if self.resident else labels
        if self.resident:
            self.images = torch.empty((self.count, *shards[0].shape[1:]), dtype=torch.uint8, device=device)  # (N, 3, H, W)
            for place, shard in zip(self.images.split([len(shard) for shard in shards]), shards, strict=True):
                place.copy_(shard)  # one at a time, so that the device never has them twice
        else:
            self.shards = shards
            self.starts = torch.tensor([0, *(len(shard) for shard in shards)]).cumsum(0)
            self.reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    def choose(self, images_seen: int, batch: int) -> Tensor:
        """Returns the indices (batch,) of the images that follow the first ``images_seen``, across epochs if necessary."""
        pieces, position = [], images_seen
        while position < images_seen + batch:
            epoch, start = divmod(position, self.count)
            stop = min(self.count, start + images_seen + batch - position)
            pieces.append(self._permutation(epoch)[start:stop])
            position += stop - start
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def take(self, indices: Tensor) -> Tensor:
        """Returns the images (B, 3, H, W) in uint8 at these indices, on the training device."""
        if self.resident:
            return self.images.index_select(0, indices.to(self.device))
        found = next((images for place, images in self.ahead if torch.equal(place, indices)), None)
        return (found.result() if found else self._read(indices)).to(self.device, non_blocking=True)

    def take_labels(self, indices: Tensor) -> Tensor:
        """Returns the one-hot labels (B, values) of the images at these indices, on the training device."""
        return encode(self.labels[indices.to(self.labels.device)], self.columns).to(self.device)

    def read_ahead(self, choose: Callable[[], list[Tensor]]) -> None:
        """Starts to read the next images, if they have to be read.

        Args:
            choose: returns the indices of the next batches.
        """
        if not self.resident:
            self.ahead = [(indices, self.reader.submit(self._read, indices)) for indices in choose()]

    def _read(self, indices: Tensor) -> Tensor:
        """Returns the images (B, 3, H, W) at these indices in main memory, pinned if they go to a GPU."""
        if len(self.shards) == 1 and self.device.type == "cpu":
            return self.shards[0].index_select(0, indices)  # 20 times as fast as self.shards[0][indices]
        shard_of = torch.bucketize(indices, self.starts[1:], right=True)
        picked = torch.empty((len(indices), *self.shards[0].shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        for shard in shard_of.unique().tolist():
            where = shard_of == shard
            picked[where] = self.shards[shard][indices[where] - self.starts[shard]]
        return picked

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self.permutations:
            random = torch.Generator().manual_seed(derive_seed(self.seed, epoch))
            order = torch.arange(self.count) if self.order == "in_order" else torch.randperm(self.count, generator=random)
            last = dict(list(self.permutations.items())[-1:])
            self.permutations = {**last, epoch: order.to(self.device) if self.resident else order}
        return self.permutations[epoch]
