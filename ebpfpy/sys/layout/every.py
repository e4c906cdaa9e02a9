"""Every attribute and every structure of information, for those who go through all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import (
    BtfLoad,
    EnableStats,
    GetId,
    InfoByFd,
    MapBatch,
    MapCreate,
    MapElem,
    Obj,
    ProgBindMap,
    ProgLoad,
    ProgTestRun,
    TokenCreate,
)
from .information import BtfInfo, Info, MapInfo, ProgInfo
from .linkcommands import IterCreate, LinkCreate, LinkDetach, LinkUpdate, ProgAttach, ProgQuery, RawTracepoint
from .linkinformation import LinkInfo

if TYPE_CHECKING:
    from .attribute import Attr

ATTRS: tuple[type[Attr], ...] = (
    MapCreate, MapElem, MapBatch, ProgLoad, Obj, ProgTestRun, GetId, InfoByFd, RawTracepoint, BtfLoad,
    LinkCreate, LinkUpdate, LinkDetach, EnableStats, TokenCreate, IterCreate, ProgBindMap, ProgAttach, ProgQuery,
)  # fmt: skip
"""Every member struct of ``union bpf_attr``."""

INFOS: tuple[type[Info], ...] = (MapInfo, ProgInfo, BtfInfo, LinkInfo)
"""Every structure of BPF_OBJ_GET_INFO_BY_FD."""
