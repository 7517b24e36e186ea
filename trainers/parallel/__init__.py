"""Training in several processes: a launcher's ranks here; `trainers.parallel.cluster` for whole folds on a
cluster."""

from trainers.parallel.ddp import Ranks, joined_ranks, local_device, name_lost_ranks, sum_over_ranks

__all__ = ["Ranks", "joined_ranks", "local_device", "name_lost_ranks", "sum_over_ranks"]
