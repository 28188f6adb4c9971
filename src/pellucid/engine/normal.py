"""Standard normal numbers as a function of a key and a place: the same bits drawn anywhere, in any order, never kept.

A generator walks from number to number, so that its numbers have to be drawn by a processor and carried to the
accelerator that uses them, which takes longer than what is done with them there.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

STEP = 0x9E3779B97F4A7C15 - 2**64
MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))
"""Shifts and factors of SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", with
Stafford's mix 13), as numbers with a sign."""


def mixed(states: Tensor) -> Tensor:
    """64 random bits ``Int64[…]`` of each state of SplitMix64; ``states`` is overwritten."""
    for shift, factor in MIX:
        high = states >> shift
        high &= (1 << (64 - shift)) - 1  # numbers with a sign are filled up by it
        states ^= high
        states *= factor
    return states


def standard_normal(keys: Tensor, blocks: Tensor, width: int) -> Tensor:
    """Standard normal numbers ``Float32[b, width]`` of the blocks ``Int64[b]`` of the streams of ``keys`` ``Int64[b]``.

    By the pair (Box & Muller 1958), each from 64 bits of a stream of SplitMix64 that begins at the key.
    """
    pairs = (width + 1) // 2
    places = torch.arange(1, pairs + 1, device=keys.device)
    bits = mixed((keys + blocks * pairs * STEP)[:, None] + places * STEP)
    angle = (bits & (2**32 - 1)).to(torch.float32).mul_(2 * pi / 2**32)
    bits >>= 32
    radius = bits.to(torch.float32).add_(2**31 + 0.5).mul_(2.0**-32).log_().mul_(-2).sqrt_()
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :width]
