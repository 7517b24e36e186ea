"""Public names and the modules that define them; `__init__.py` reads this table."""

from .augmentation_config import AugmentationConfig as AugmentationConfig
from .config import LossConfig as LossConfig
from .config import TrainingConfig as TrainingConfig
from .config import read_training_config as read_training_config
from .crossval import CrossvalRequest as CrossvalRequest
from .crossval import cross_validate as cross_validate
from .fold import train_fold as train_fold
from .request import FoldResult as FoldResult
from .request import TrainRequest as TrainRequest
from .stopping import TrainingStopped as TrainingStopped
