"""`balrsam run`: the whole job for a dataset as a graph of the commands that a user would type, done where it
is not done yet."""

from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import Step
from balrsam_pipeline.run.steps import planning_step, steps_after_planning

__all__ = ["RunRequest", "Step", "planning_step", "steps_after_planning"]
