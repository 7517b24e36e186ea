"""`balrsam run`: the whole job for a dataset as a list of the commands that a user would type one after the other."""

from balrsam_pipeline.run.steps import RunRequest, Step, planning_step, steps_after_planning

__all__ = ["RunRequest", "Step", "planning_step", "steps_after_planning"]
