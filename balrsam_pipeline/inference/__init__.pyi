"""Public names and the modules that define them; `__init__.py` reads this table."""

from .best_configuration import BestConfiguration as BestConfiguration
from .best_configuration import CandidateScore as CandidateScore
from .best_configuration import read_best as read_best
from .best_configuration import write_best as write_best
from .members import Member as Member
from .model_folder import hash_weights as hash_weights
from .model_folder import load_predictor as load_predictor
from .postprocessing import Postprocessing as Postprocessing
from .postprocessing import PostprocessingStep as PostprocessingStep
from .postprocessing import apply_postprocessing as apply_postprocessing
from .postprocessing import read_postprocessing as read_postprocessing
from .postprocessing import write_postprocessing as write_postprocessing
from .predict_cases import FileOptions as FileOptions
from .predict_cases import PredictionReport as PredictionReport
from .predict_cases import predict_cases as predict_cases
from .predict_cases import predict_files as predict_files
from .predict_image import predict_array as predict_array
from .predict_one import predict as predict
from .predictor import Predictor as Predictor
from .predictor import PredictorOptions as PredictorOptions
from .predictor import count_patches as count_patches
