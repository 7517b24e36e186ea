"""Public names and the modules that define them; `__init__.py` reads this table."""

from .metrics.options import PROTOCOLS as PROTOCOLS
from .metrics.options import EvaluationOptions as EvaluationOptions
from .metrics.options import Protocol as Protocol
from .metrics.score_case import LabelScore as LabelScore
from .metrics.score_case import score_pair as score_pair
from .pairs import Pair as Pair
from .reports.summary_json import read_summary as read_summary
from .reports.tables import summary_table as summary_table
from .reports.write import write_reports as write_reports
from .scoring import evaluate as evaluate
from .scoring import evaluate_folders as evaluate_folders
from .scoring import evaluate_pairs as evaluate_pairs
from .summary import Aggregate as Aggregate
from .summary import Summary as Summary
from .summary import pool as pool
