"""Where data comes from: a company's own files, one of the public data sets, each in a module of its own, or a
generated world."""

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from patron.tables.read import FilesConfig, read_files
from patron.tables.sources import cdnow, complete_journey, online_retail_ii
from patron.tables.sources.cdnow import CdnowConfig
from patron.tables.sources.complete_journey import CompleteJourneyConfig
from patron.tables.sources.online_retail_ii import OnlineRetailIIConfig
from patron.tables.worlds.config import WorldConfig
from patron.tables.worlds.truth import Truth
from patron.tables.worlds.world import draw_truth, generate

DataConfig = Annotated[
    FilesConfig | CompleteJourneyConfig | CdnowConfig | OnlineRetailIIConfig | WorldConfig, Field(discriminator="name")
]  # fmt: skip


def read(config: DataConfig) -> dict[str, pa.Table]:
    """The raw tables that `config` names. Raises UnreadableTables if they are not there or make no sense."""
    match config:
        case FilesConfig():
            return read_files(config)
        case CompleteJourneyConfig():
            return complete_journey.read()
        case CdnowConfig():
            return cdnow.read(config)
        case OnlineRetailIIConfig():
            return online_retail_ii.read(config)
        case WorldConfig():
            return dict(generate(config).tables)


def label(config: DataConfig) -> str:
    """What reports call the data."""
    match config:
        case FilesConfig():
            return config.label
        case WorldConfig():
            return config.preset
    return config.name


def truth(config: DataConfig) -> Truth | None:
    """What is latent in a world: the ceiling of any model. None for data of which nobody knows it."""
    return draw_truth(config) if isinstance(config, WorldConfig) else None
