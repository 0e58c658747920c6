from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from continual_df.data.dataset import DrawDataset, RowDataset, to_unit
from continual_df.data.sampler import Draw, PlanBatchSampler, Source
from continual_df.task import Rows

AUGMENT: list[nn.Module] = [v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4), v2.RandomCrop(6)]


def picture(sample: int) -> Tensor:
    return torch.randint(256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(sample))


def draw(sample: int = 5, epoch: int = 0) -> Draw:
    return Draw(sample, label=1, method=2, task=3, role=0, epoch=epoch)


def rows(num: int) -> Rows:
    return Rows(torch.arange(num), torch.arange(num) % 2, torch.arange(num) % 2, torch.zeros(num, dtype=torch.long))


def test_the_same_draw_gives_the_same_pixels_whatever_was_drawn_before() -> None:
    dataset = DrawDataset(picture, None, AUGMENT, seed=1)
    first = dataset[draw()]["image"]
    torch.rand(7)
    dataset[draw(sample=6)]
    assert torch.equal(dataset[draw()]["image"], first)


@pytest.mark.parametrize(
    "other",
    [
        lambda: DrawDataset(picture, None, AUGMENT, seed=1)[draw(epoch=1)],
        lambda: DrawDataset(picture, None, AUGMENT, seed=2)[draw()],
        lambda: DrawDataset(picture, None, AUGMENT, seed=1, task=1)[draw()],
    ],
    ids=["epoch", "seed", "task"],
)
def test_another_address_gives_other_pixels(other: Callable[[], dict[str, Tensor]]) -> None:
    assert not torch.equal(other()["image"], DrawDataset(picture, None, AUGMENT, seed=1)[draw()]["image"])


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    DrawDataset(picture, None, AUGMENT)[draw()]
    assert torch.equal(torch.rand(3), expected)


def test_generators_of_cuda_devices_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    # dropout on the device would otherwise depend on whether images are made in this process or in a worker
    seeded: list[int] = []
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeded.append)
    DrawDataset(picture, None, AUGMENT)[draw()]
    assert not seeded


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(num_workers: int) -> None:
    def batches(num_workers: int) -> list[dict[str, Tensor]]:
        sampler = PlanBatchSampler([Source(rows(10), 4)], seed=3, task=0)
        return list(DataLoader(DrawDataset(picture, 7, AUGMENT), batch_sampler=sampler, num_workers=num_workers))

    for batch, expected in zip(batches(num_workers), batches(0), strict=True):
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_an_item_carries_its_draw_and_pixels_in_unit_range() -> None:
    item = DrawDataset(picture, None)[draw()]
    assert torch.equal(item.pop("image"), picture(5).float() / 255)
    assert item == {"label": 1, "method": 2, "task": 3, "role": 0, "sample": 5, "weight": 1}


def test_images_are_resized_only_where_their_size_differs() -> None:
    assert DrawDataset(picture, 4)[draw()]["image"].shape == (3, 4, 4)
    assert torch.equal(DrawDataset(picture, 8)[draw()]["image"], picture(5).float() / 255)


def test_rows_come_in_order_and_as_they_are() -> None:
    dataset = RowDataset(DrawDataset(picture, None), rows(4))
    assert [dataset[i]["sample"] for i in range(len(dataset))] == [0, 1, 2, 3]
    assert torch.equal(dataset[2]["image"], picture(2).float() / 255)


def test_floats_pass_unscaled() -> None:
    image = torch.tensor([-1.5, 2.0], dtype=torch.float64)
    assert torch.equal(to_unit(image), image.float())


def test_a_second_view_is_of_the_same_image_and_has_its_own_transforms() -> None:
    item = DrawDataset(picture, None, [v2.RandomHorizontalFlip(1.0)], second=[])[draw()]
    assert torch.equal(item["image"].flip(-1), item["second"])
    assert torch.equal(item["second"], to_unit(picture(5)))


def test_a_second_view_leaves_the_first_as_it_was() -> None:
    one, two = (DrawDataset(picture, None, AUGMENT, seed=1, second=second)[draw()] for second in (None, AUGMENT))
    assert torch.equal(one["image"], two["image"])
    assert not torch.equal(two["image"], two["second"])
    assert "second" not in one


def test_items_have_the_group_of_their_row_where_groups_are_given() -> None:
    assert "group" not in DrawDataset(picture, None)[draw()]
    item = DrawDataset(picture, None, group_N=torch.arange(10) // 2)[draw()]
    assert int(item["group"]) == draw().sample // 2
