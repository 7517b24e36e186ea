"""Public names and the modules that define them; `__init__.py` reads this table."""

from .builder import Model as Model
from .builder import build as build
from .builder import random_model as random_model
from .checkpoints import checkpoint_sha256 as checkpoint_sha256
from .checkpoints import sam_kind as sam_kind
from .checkpoints import tensors_crc32 as tensors_crc32
from .download import obtain as obtain
from .features import Features as Features
from .model import BalrSam as BalrSam
from .model import TrainingOutput as TrainingOutput
from .moments import measure_second_moments as measure_second_moments
from .moments import start_on_images as start_on_images
from .official_checkpoints import PUBLISHED as PUBLISHED
from .official_checkpoints import find_checkpoint as find_checkpoint
from .presets import FROM_SCRATCH as FROM_SCRATCH
from .presets import GLOBAL_BLOCKS as GLOBAL_BLOCKS
from .presets import preset as preset
from .profiling import NetworkCost as NetworkCost
from .profiling import count_cost as count_cost
from .profiling import describe_network as describe_network
from .step_memory import StepMemory as StepMemory
from .step_memory import step_memory as step_memory
from .trained_weights import TENSORS_CHECKSUM as TENSORS_CHECKSUM
from .trained_weights import load_trainable_state as load_trainable_state
from .trained_weights import load_trained as load_trained
from .trained_weights import trainable_state as trainable_state
