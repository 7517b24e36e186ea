"""The options of a cluster and `--case-timeout`, of every sub-command that works case by case."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.errors import UsageError, installing
from balrsam_pipeline.execution.options import WORKERS_WITHIN_S, ClusterOptions, ExecutionOptions


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--cluster`, `--cluster-wait`, `--tls-ca`, `--tls-cert`, `--tls-key`."""
    group = parser.add_argument_group(f"cluster (needs the extra 'cluster', {installing('cluster')})")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="work on a Dask cluster: tcp://host:8786, tls://host:8786 or a scheduler file",
    )
    group.add_argument(
        "--cluster-wait",
        type=float,
        default=WORKERS_WITHIN_S,
        metavar="SECONDS",
        help="how long to wait while there is no worker, for instance in a queue (default: %(default)g)",
    )
    group.add_argument(
        "--tls-ca",
        type=Path,
        metavar="PEM",
        help="certificate authority of the cluster (else Dask's configuration)",
    )
    group.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate of this side")
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="private key of this side")


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--case-timeout` and the options of a cluster."""
    parser.add_argument(
        "--case-timeout",
        type=float,
        metavar="SECONDS",
        help="give a case up after this time, and show where it stood",
    )
    add_cluster_arguments(parser)


def cluster_of(arguments: argparse.Namespace) -> ClusterOptions | None:
    """The cluster that the options of `add_cluster_arguments` name.

    Raises:
        UsageError: they contradict each other.
    """
    if arguments.cluster is None:
        if arguments.tls_ca or arguments.tls_cert or arguments.tls_key:
            raise UsageError(
                "--tls-ca, --tls-cert, --tls-key",
                found="no --cluster",
                expected="the cluster that they are for",
                fix="see docs/cluster.md",
            )
        return None
    return ClusterOptions(
        address=arguments.cluster,
        tls_ca=arguments.tls_ca,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        wait_s=arguments.cluster_wait,
    )


def execution_of(arguments: argparse.Namespace, workers: int) -> ExecutionOptions:
    """What the options of `add_execution_arguments` say, with so many workers here."""
    return ExecutionOptions(
        workers=workers, cluster=cluster_of(arguments), case_timeout_s=arguments.case_timeout
    )
