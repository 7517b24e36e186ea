"""How long a run goes on and how fast: its budget, its pace, and how many threads compute."""

from trainers.pace.budget import Budget
from trainers.pace.pace import Pace
from trainers.pace.threads import ThreadChoice

__all__ = ["Budget", "Pace", "ThreadChoice"]
