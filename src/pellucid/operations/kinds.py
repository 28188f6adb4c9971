"""What an operation is to a backward walk, as data: which are linear, which are products, which have a rule."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


LINEAR = _names(
    """
    view _unsafe_view reshape permute transpose t expand squeeze unsqueeze slice select split split_with_sizes unbind
    cat stack narrow flip roll alias detach lift_fresh_copy constant_pad_nd reflection_pad1d reflection_pad2d
    reflection_pad3d replication_pad1d replication_pad2d replication_pad3d _reshape_alias as_strided
    sum mean cumsum trace diagonal diag_embed tril triu repeat unfold im2col col2im pixel_shuffle pixel_unshuffle
    avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    index index_select gather scatter scatter_add index_add index_put select_scatter slice_scatter
    diagonal_scatter _to_copy clone add sub rsub neg where masked_fill
    """
)
"""Linear in all their active arguments together (an index or a condition must not be one of them)."""

PRODUCTS = _names("mul mm bmm addmm baddbmm addbmm mv dot convolution addcmul")
"""Of degree two at most; linear where only one factor is active."""

RESHAPING = _names("view _unsafe_view reshape permute transpose t expand squeeze unsqueeze clone alias detach")
"""What only gives its argument another shape."""

POSITIVE = _names(
    """
    view _unsafe_view reshape permute transpose t expand squeeze unsqueeze slice select split split_with_sizes unbind
    cat stack narrow flip roll alias detach sum mean avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d
    _adaptive_avg_pool3d _to_copy clone add index index_select gather amax max max_pool2d_with_indices
    max_pool3d_with_indices maximum upsample_nearest2d upsample_bilinear2d
    """
)
"""What makes no negative values of values that are not."""

LAYERS = {"convolution": (0, 1, 2), "addmm": (1, 2, 0), "mm": (0, 1, None)}
"""Products with weights: the places of rows, weights and bias among the arguments."""

AFFINE = _names("add sub rsub mul div neg _to_copy clone alias detach lift_fresh_copy")
"""Elementwise and, in one argument alone, a product and a sum."""

ARITHMETIC = AFFINE | {"abs", "pow", "sqrt"}
"""Elementwise and bent nowhere, or at 0 only, whatever numbers stand beside."""

ELEMENTWISE = _names("_to_copy clone where masked_fill detach alias lift_fresh_copy")
"""Elementwise though torch does not tag them so."""

SOFTMAX = frozenset(("_softmax", "_safe_softmax"))
LARGEST = _names("amax amin max min max_pool2d_with_indices max_pool3d_with_indices")
COMPARISONS = _names("gt lt ge le eq ne")
SELECTORS = {"where": (0,), "index": (1,), "index_select": (2,), "gather": (2,), "scatter": (2,), "scatter_add": (2,),
             "index_add": (2,), "index_put": (1,), "masked_fill": (1,)}  # fmt: skip
"""Places of arguments that choose, and are nothing to be linear in."""


def name_of(node: Node) -> str:
    """The operation's name without overload, ``add``; of a part of a result, that of the operation it is a part of."""
    if node.target is operator.getitem:
        return name_of(made_by(node))
    schema = getattr(node.target, "_schema", None)
    return str(node.target) if schema is None else schema.name.split("::")[-1]


def made_by(node: Node) -> Node:
    """The operation whose result ``node`` is a part of; itself where it is no part."""
    if node.target is not operator.getitem:
        return node
    whole = node.args[0]
    assert isinstance(whole, Node)
    return made_by(whole)


def is_elementwise(node: Node) -> bool:
    if node.op != "call_function" or node.target is operator.getitem:
        return False
    tags: Any = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or name_of(node) in ELEMENTWISE


def is_constant(node: Node) -> bool:
    """Whether it only takes the shape of its argument."""
    name = name_of(node)
    return name.endswith("_like") or name.startswith("new_")


def selectors(node: Node) -> list[Node]:
    """The nodes by which an operation chooses among its other arguments."""
    found: list[Node] = []
    for place in SELECTORS.get(name_of(node), ()):
        if place < len(made_by(node).args):
            given = made_by(node).args[place]
            found += [n for n in (given if isinstance(given, (list, tuple)) else [given]) if isinstance(n, Node)]
    return found
