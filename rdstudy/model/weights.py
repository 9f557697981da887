"""A file of weights: tensors as safetensors, with a header that says whose they are and is enough to load a model.

Knows no store and no table. Files of an earlier version (`.bin`) hold tensors alone and cannot say whose they are.
"""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.study import NUMERICS_VERSION, Member, parts
from rdstudy.study.words import one_line

_FORMAT = {"format": "rdstudy weights", "version": "1"}


class WeightsError(ValueError):
    """A file of weights that is damaged, of another program, or of another member: one line with its path."""


@dataclass(frozen=True)
class Header:
    """What a file of weights says of itself."""

    member: Member
    member_id: str
    run_id: str  # of the training
    numerics_version: int  # under which the id is that of the member
    image_shape: tuple[int, int, int]  # channel, row, column
    code_version: str
    torch_version: str
    own_parts: Mapping[str, str]  # level -> name of the user's own file that defines it; levels carry its digest

    @classmethod
    def of(cls, member: Member, *, run_id: str, image_shape: tuple[int, int, int], code_version: str) -> "Header":
        """The header of weights that this process trained."""
        sources = {level: parts.source_of(level) for level in map(member.level, parts.KINDS)}
        return cls(
            member=member,
            member_id=member.member_id,
            run_id=run_id,
            numerics_version=NUMERICS_VERSION,
            image_shape=image_shape,
            code_version=code_version,
            torch_version=torch.__version__,
            own_parts={level: source.name for level, source in sources.items() if source},
        )

    def _metadata(self) -> dict[str, str]:
        """As safetensors has it, strings alone."""
        values = {
            "member": self.member.to_dict(),
            "numerics_version": self.numerics_version,
            "image_shape": self.image_shape,
            "own_parts": dict(self.own_parts),
        }
        plain = {name: getattr(self, name) for name in ("member_id", "run_id", "code_version", "torch_version")}
        return {**_FORMAT, **plain, **{name: json.dumps(value) for name, value in values.items()}}

    @classmethod
    def _from_metadata(cls, metadata: Mapping[str, str]) -> "Header":
        channels, rows, columns = map(int, json.loads(metadata["image_shape"]))
        return cls(
            member=Member.from_dict(json.loads(metadata["member"])),
            member_id=metadata["member_id"],
            run_id=metadata["run_id"],
            numerics_version=int(metadata["numerics_version"]),
            image_shape=(channels, rows, columns),
            code_version=metadata["code_version"],
            torch_version=metadata["torch_version"],
            own_parts=json.loads(metadata["own_parts"]),
        )


@dataclass(frozen=True)
class KeptWeights:
    """A file of weights as it was read."""

    header: Header
    tensors: Mapping[str, Tensor]  # as `VAE.state_dict` names them

    def check_whose(self, *, member_id: str, run_id: str, path: str) -> None:
        """Hold that they are those of a member and a run.

        Raises:
            WeightsError: they are another's.
        """
        theirs = (self.header.member_id, self.header.run_id)
        if theirs != (member_id, run_id):
            raise WeightsError(f"{path} holds the weights of member {theirs[0]} of run {theirs[1]}")


def to_bytes(tensors: Mapping[str, Tensor], header: Header) -> bytes:
    """A file with these weights."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = header._metadata()
    return safetensors.torch.save(plain, {**metadata, "digest": _digest(plain, metadata)})


def from_bytes(content: bytes, *, path: str) -> KeptWeights:
    """The weights in a file, once the digest of its tensors and header and the id of its member hold.

    Raises:
        WeightsError: the file is damaged, of another program or of a later version.
    """
    metadata = _metadata_in(content)
    if metadata.get("format") != _FORMAT["format"]:
        raise WeightsError(f"{path} is damaged, or no file of weights of rdstudy")
    if metadata.get("version") != _FORMAT["version"]:
        raise WeightsError(f"{path} is of version {metadata.get('version')!r}; allowed: {_FORMAT['version']}")
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # what safetensors and PyTorch raise for a bad file is not written down
        raise WeightsError(f"{path} is damaged: {one_line(error)}") from None
    said = metadata.pop("digest", "")
    if said != _digest(tensors, metadata):
        raise WeightsError(f"{path} is damaged: its bytes are not those that were written")
    try:
        header = Header._from_metadata(metadata)
        member_id = header.member.id_under(header.numerics_version)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has settings that this version does not know: {one_line(error)}") from None
    if member_id != header.member_id:
        raise WeightsError(f"{path} has settings that are not those of its member {header.member_id}")
    return KeptWeights(header, dict(sorted(tensors.items())))  # a file has them in any order


def from_old_bytes(content: bytes, *, path: str) -> dict[str, Tensor]:
    """The tensors in a file of an earlier version, read without running any code of it.

    Raises:
        WeightsError: they cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # PyTorch writes checksums, and does not look at them
            bad = archive.testzip()
        tensors = None if bad else torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # what PyTorch raises for a bad file is not written down
        raise WeightsError(f"{path} is damaged: {type(error).__name__}") from None
    if bad:
        raise WeightsError(f"{path} is damaged: its bytes are not those that were written")
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path} is no file of weights")
    return tensors


def network_for(member: Member, image_shape: tuple[int, int, int], tensors: Mapping[str, Tensor], *, path: str) -> VAE:
    """The network of a member, on the CPU with weights that are not these yet, but which these fit.

    Raises:
        WeightsError: names or shapes are another network's.
        ValueError: a user's own part that is not known here.
    """
    vae = build(NetworkShape.of(member, image_shape), seed=0)
    expected, given = (_shapes(each) for each in (vae.state_dict(), tensors))
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise WeightsError(
                f"{path} does not fit the network of its member: {name} has shape {given.get(name)}, and there it is "
                f"{expected.get(name)}"
            )
    return vae


def _shapes(tensors: Mapping[str, Tensor | nn.Parameter]) -> dict[str, list[int]]:
    return {str(name): list(value.shape) for name, value in tensors.items()}


def _metadata_in(content: bytes) -> dict[str, str]:
    """The strings in the header of a file of safetensors; empty where there is none that can be read."""
    try:
        (length,) = struct.unpack("<Q", content[:8])
        metadata: Any = json.loads(content[8 : 8 + length])["__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of all that a file says, whatever the order in which it says it: 32 hex digits."""
    digest = hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
