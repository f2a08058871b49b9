"""Batches are a pure function of (seed, images_seen), and on a CPU the images stay mapped from the shards."""

import threading
from pathlib import Path

import pytest
import torch
from projects import make_shards

from facegan.common.shards import open_split
from facegan.training.data import Batches, derive_seed

CPU, NO_LABELS = torch.device("cpu"), torch.empty(50, 0, dtype=torch.uint8)


@pytest.fixture
def shards():
    pictures = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 4, 4).contiguous()
    return list(pictures.split(20))


def indices(shards, images_seen, batch=7, order="shuffled", seed=3):
    return Batches(shards, NO_LABELS, (), order, seed, CPU).choose(images_seen, batch).tolist()


def test_each_epoch_has_every_image_once_in_another_order(shards):
    first, second = indices(shards, 0, 50), indices(shards, 50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second != list(range(50))


def test_batch_depends_only_on_seed_and_images_seen(shards):
    one = Batches(shards, NO_LABELS, (), "shuffled", 3, CPU)
    chosen = [one.choose(seen, 7).tolist() for seen in range(0, 350, 7)]
    assert chosen[33] == indices(shards, 33 * 7)
    assert chosen[33] != indices(shards, 33 * 7, seed=4)


def test_batch_size_does_not_change_the_order(shards):
    assert [index for seen in range(0, 120, 4) for index in indices(shards, seen, 4)] == indices(shards, 0, 120)  # across epochs


def test_in_order_follows_the_files(shards):
    assert indices(shards, 48, 5, order="in_order") == [48, 49, 0, 1, 2]


def test_images_are_the_chosen_ones(shards):
    chosen = torch.tensor([49, 0, 20, 19, 39, 40, 0])
    for parts in (shards, [torch.cat(shards)]):
        assert Batches(parts, NO_LABELS, (), "shuffled", 0, CPU).take(chosen)[:, 0, 0, 0].tolist() == chosen.tolist()


def test_next_batch_is_read_ahead_and_is_the_same(shards, monkeypatch):
    images, mapped, reads = torch.cat(shards), Batches(shards, NO_LABELS, (), "shuffled", 0, CPU), []
    read = mapped._read
    monkeypatch.setattr(mapped, "_read", lambda indices: reads.append(threading.current_thread().name) or read(indices))
    for seen in range(0, 150, 7):  # across epochs
        assert torch.equal(mapped.take(mapped.choose(seen, 7)), images[mapped.choose(seen, 7)])
        mapped.read_ahead(lambda seen=seen: [mapped.choose(seen + 7, 7)])
    assert reads.count("MainThread") == 1  # the first
    assert torch.equal(mapped.take(mapped.choose(0, 7)), images[mapped.choose(0, 7)])  # not the batch that was read ahead


def test_error_while_reading_ahead_is_raised(shards):
    mapped = Batches(shards, NO_LABELS, (), "shuffled", 0, CPU)
    mapped.read_ahead(lambda: [torch.tensor([1000])])
    with pytest.raises(IndexError):
        mapped.take(torch.tensor([1000]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports it")
def test_processes_share_the_images_in_memory(tmp_path):
    def own_megabytes():
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1000

    make_shards(tmp_path, count=3000, resolution=64)
    images, before = open_split(tmp_path / "data" / "shards", "train"), own_megabytes()
    batches = Batches(images, NO_LABELS, (), "shuffled", 0, CPU)
    for seen in range(0, 2700, 50):
        batches.take(batches.choose(seen, 50))
    assert own_megabytes() - before < 10  # of 33


def test_derived_seeds_differ_and_fit_64_bits():
    seeds = {derive_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900 and all(0 <= seed < 2**63 for seed in seeds)
