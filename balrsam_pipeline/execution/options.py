"""Where work that is done case by case runs: how many processes, which cluster, how long a case may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.whole_numbers import whole_number

WORKERS_WITHIN_S = 45.0  # so that a command without workers ends within a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """A Dask cluster.

    Attributes:
        address: `tcp://host:port`, `tls://host:port`, or the path of a scheduler file (.json).
        tls_ca: the certificate authority that both sides trust (PEM).
        tls_cert: this side's certificate (PEM).
        tls_key: its private key (PEM); None where the certificate's file holds it.
        wait_s: seconds that no worker may be there, at the start and later.

    Raises:
        UsageError: the address is none, TLS files are incomplete or missing, or the seconds are none.
    """

    address: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    wait_s: float = WORKERS_WITHIN_S

    def __post_init__(self) -> None:
        if not (math.isfinite(self.wait_s) and self.wait_s > 0):
            raise _wrong("--cluster-wait", f"{self.wait_s}", "seconds above 0")
        scheme, mark, rest = self.address.partition("://")
        if not self.address.endswith(".json") and not (
            mark and scheme in ("tcp", "tls") and _is_host_and_port(rest)
        ):
            raise _wrong(
                "--cluster", self.address, "tcp://HOST:PORT, tls://HOST:PORT or a scheduler file (.json)"
            )
        if (self.tls_ca is None) != (self.tls_cert is None) or (
            self.tls_key is not None and self.tls_cert is None
        ):
            raise _wrong(
                "--tls-ca, --tls-cert, --tls-key",
                "some of them",
                "--tls-ca and --tls-cert, and --tls-key unless --tls-cert holds it",
            )
        for path in (self.tls_ca, self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise _wrong("TLS", f"no file {path}", "a PEM file")
        if self.tls_ca is not None and mark and scheme != "tls":
            raise _wrong(
                "--cluster",
                f"{self.address} together with --tls-ca",
                "tls://HOST:PORT, so that nothing goes unencrypted",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """Where cases are worked on.

    Attributes:
        workers: processes (or threads) here; a cluster has its own number.
        cluster: None works here.
        case_timeout_s: a case that takes longer is given up, with the stack of where it stood; None waits for
            ever.

    Raises:
        UsageError: a number is out of range.
    """

    workers: int = 1
    cluster: ClusterOptions | None = None
    case_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(
                "--workers",
                found=str(self.workers),
                expected="1 or more",
                fix="leave it out for one per core",
            )
        if self.case_timeout_s is not None and not (
            math.isfinite(self.case_timeout_s) and self.case_timeout_s > 0
        ):
            raise UsageError(
                "--case-timeout",
                found=str(self.case_timeout_s),
                expected="seconds above 0",
                fix="correct it, or leave it out",
            )

    def shared(self, path: Path) -> Path:
        """A path as workers can use it: those of a cluster work in other folders than this process."""
        return path if self.cluster is None else path.absolute()


def cluster_words(cluster: ClusterOptions | None) -> tuple[str, ...]:
    """The words that hand a cluster on to another `balrsam` command."""
    if cluster is None:
        return ()
    given = {
        "--cluster": cluster.address,
        "--tls-ca": cluster.tls_ca,
        "--tls-cert": cluster.tls_cert,
        "--tls-key": cluster.tls_key,
        "--cluster-wait": cluster.wait_s if cluster.wait_s != WORKERS_WITHIN_S else None,
    }
    return tuple(
        word for option, value in given.items() if value is not None for word in (option, str(value))
    )


def _is_host_and_port(text: str) -> bool:
    host, colon, text = text.rpartition(":")
    port = whole_number(text)
    return bool(host) and colon == ":" and port is not None and port < 2**16


def _wrong(option: str, found: str, expected: str) -> UsageError:
    return UsageError(option, found=found, expected=expected, fix="see docs/cluster.md")
