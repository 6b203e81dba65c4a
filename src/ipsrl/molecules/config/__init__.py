"""Configurations of the molecules; separate, so that --help is instant."""

from ipsrl.molecules.config.component import KINDS as KINDS
from ipsrl.molecules.config.component import ComponentConfig as ComponentConfig
from ipsrl.molecules.config.component import QsarConfig as QsarConfig
from ipsrl.molecules.config.component import SynthesisConfig as SynthesisConfig
from ipsrl.molecules.config.component import TransformConfig as TransformConfig
from ipsrl.molecules.config.docking import DockingConfig as DockingConfig
from ipsrl.molecules.config.pretraining import PretrainConfig as PretrainConfig
from ipsrl.molecules.config.search import COLUMNS as COLUMNS
from ipsrl.molecules.config.search import OUTCOMES as OUTCOMES
from ipsrl.molecules.config.search import Config as Config
from ipsrl.molecules.config.search import StageConfig as StageConfig
