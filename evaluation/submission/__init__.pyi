"""Public names and the modules that define them; `__init__.py` reads this table."""

from .container import ContainerRequest as ContainerRequest
from .container import write_container as write_container
from .leaderboards import FORMS as FORMS
from .leaderboards import Form as Form
from .pack import pack_submission as pack_submission
from .request import Submission as Submission
from .request import SubmissionRequest as SubmissionRequest
