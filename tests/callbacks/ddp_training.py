"""A training by DistributedDataParallel, with a monitor and without: prints whether both end with the same bits."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from training import dropout_net, samples, train

import landscape
from landscape.callbacks import Monitor


def main() -> None:
    dist.init_process_group("gloo")
    data = TensorDataset(*samples())
    monitor = Monitor(landscape.Eig(k=2), samples(), "cross_entropy", every=2, budget=None)
    ends = []
    for watch in (monitor, None):
        model = nn.parallel.DistributedDataParallel(dropout_net())
        ends.append(train(model, DataLoader(data, batch_size=8, sampler=DistributedSampler(data)), watch))
    print(ends[0] == ends[1], monitor.history.steps.tolist(), [moment.trouble for moment in monitor.history.moments])
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
