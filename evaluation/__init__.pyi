"""Public names and the modules that define them; `__init__.py` reads this table."""

from .evaluate import evaluate_folders as evaluate_folders
from .evaluate import evaluate_pairs as evaluate_pairs
from .metrics.score_case import LabelScore as LabelScore
from .metrics.score_case import score_pair as score_pair
from .options import EvaluationOptions as EvaluationOptions
from .protocols import PROTOCOLS as PROTOCOLS
from .protocols import Protocol as Protocol
from .reports.summary_json import read_summary as read_summary
from .reports.table import summary_table as summary_table
from .reports.write import write_reports as write_reports
from .summary import Aggregate as Aggregate
from .summary import Summary as Summary
from .summary import pool as pool
