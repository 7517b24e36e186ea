"""Choosing, on cross-validation, what to predict with: a configuration or an ensemble, and its postprocessing."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from evaluation.best_configuration.find import BestRequest, find_best_configuration

__all__ = ["BestRequest", "find_best_configuration"]
__getattr__ = lazy_face(__name__, {"BestRequest": ".find", "find_best_configuration": ".find"})
