"""Leaderboard submissions: every check that a server would make, a deterministic archive, a container folder."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from evaluation.submission.container import ContainerRequest, write_container
    from evaluation.submission.forms import FORMS, Form
    from evaluation.submission.pack import Submission, SubmissionRequest, pack_submission

__all__ = ["FORMS", "ContainerRequest", "Form", "Submission", "SubmissionRequest", "pack_submission", "write_container"]
__getattr__ = lazy_face(
    __name__,
    {
        "FORMS": ".forms",
        "ContainerRequest": ".container",
        "Form": ".forms",
        "Submission": ".pack",
        "SubmissionRequest": ".pack",
        "pack_submission": ".pack",
        "write_container": ".container",
    },
)
