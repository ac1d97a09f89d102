"""Where data comes from: a company's own files, or one of the public data sets, each in a module of its own."""

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from patron.tables.read import FilesConfig, read_files
from patron.tables.sources import cdnow, complete_journey, online_retail_ii
from patron.tables.sources.cdnow import CdnowConfig
from patron.tables.sources.complete_journey import CompleteJourneyConfig
from patron.tables.sources.online_retail_ii import OnlineRetailIIConfig

DataConfig = Annotated[
    FilesConfig | CompleteJourneyConfig | CdnowConfig | OnlineRetailIIConfig, Field(discriminator="name")
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


def label(config: DataConfig) -> str:
    """What reports call the data."""
    return config.label if isinstance(config, FilesConfig) else config.name
