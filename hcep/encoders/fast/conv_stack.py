"""The convolutions at the entrance of wav2vec 2.0 as plain matrix products, positions before channels.

Shapes: B waveforms, A samples, T positions, C channels, k kernel, s stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


def positions(samples: int, kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Number of positions that convolutions without padding make of `samples`."""
    for kernel, stride in zip(kernels, strides, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


class ConvStack(NamedTuple):
    """Weights of the stack.

    Attributes
    ----------
    kernels, strides : tuple of int
        Kernel and stride of every layer.
    filters : float64 Tensor (C, k)
        Filters of the first layer, which has one input channel.
    gain, shift, eps : float64 Tensor (C,), float64 Tensor (C,), float
        Weight, bias and epsilon of the group norm after the first layer, which has one group per channel.
    taps : tuple of (Tensor (s C, C), Tensor ((k - s) C, C))
        Filters of each further layer: the first s taps, and the other k - s.
    """

    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    filters: Tensor
    gain: Tensor
    shift: Tensor
    eps: float
    taps: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, waveform: Tensor, learned: slice | None = None) -> Tensor:
        """Features ``(B, T, C)``, in the type of `taps`, of waveforms ``(B, A)`` in float32.

        Gradients are right for the samples `learned`, or for all of them; for other samples they are incomplete.
        """
        count = positions(waveform.shape[1], self.kernels, self.strides)
        # Every layer gets s times the rows of the next one, which takes one row more than is read in the end. Then the
        # clips of a batch lie behind each other and each layer is one product. The additional rows hold wrong values,
        # but no right row reads them.
        rows = (count + 1) * math.prod(self.strides[1:])
        x = first_layer(waveform, self, rows, learned or slice(0, waveform.shape[1]))
        channels = x.shape[-1]
        x = x.view(-1, channels)
        for stride, (near, far) in zip(self.strides[1:], self.taps, strict=True):
            x = functional.gelu(StridedProduct.apply(x.view(-1, stride * channels), near, far))
            channels = x.shape[-1]
        return x.view(len(waveform), -1, channels)[:, :count]


def first_layer(waveform: Tensor, stack: ConvStack, rows: int, learned: slice) -> Tensor:
    """Convolution, group norm and GELU of the first layer: ``(B, rows, C)``.

    The convolution is linear in windows of k samples. So the mean and the variance of each channel follow from the mean
    of the windows (k numbers) and their second moments (k x k numbers), and convolution and norm together are one
    product with a matrix for each clip. The moments are float64, because a channel may pass 1e-4 of the sound's power,
    and its variance is then a small difference of large numbers.
    """
    kernel, stride = stack.kernels[0], stack.strides[0]
    windows = waveform.detach().unfold(1, kernel, stride)
    count = windows.shape[1]
    # From `first` to `behind` the windows hold a sample that is learned; only these need a gradient.
    first = max(0, -(-(learned.start - kernel + 1) // stride))
    behind = max(first, min(count, (learned.stop - 1) // stride + 1))
    moving = waveform[:, first * stride :].unfold(1, kernel, stride)[:, : behind - first]
    sums = [_sums(part) for part in (windows[:, :first], moving, windows[:, behind:])]
    mean, moments = (torch.stack(part).sum(0) / count for part in zip(*sums, strict=True))
    moments = moments - mean[:, :, None] * mean[:, None]
    variance = ((stack.filters @ moments) * stack.filters).sum(dim=-1)
    scale = stack.gain * torch.rsqrt(variance + stack.eps)
    weight = torch.cat([scale[:, None] * stack.filters.T, (stack.shift - scale * (mean @ stack.filters.T))[:, None]], 1)
    # A column of ones carries the bias. Matrix units of a GPU want a width that is a multiple of 8.
    width = -(-(kernel + 1) // 8) * 8
    dtype = stack.taps[0][0].dtype
    weight = functional.pad(weight, (0, 0, 0, width - kernel - 1)).to(dtype)
    needed = (rows - 1) * stride + kernel
    padded = functional.pad(waveform.detach(), (0, max(0, needed - waveform.shape[1])))[:, :needed]
    whole = _columns(padded.unfold(1, kernel, stride), width, dtype)
    if not waveform.requires_grad:
        return functional.gelu(whole @ weight)
    # The last windows count in the norm, but later layers may not reach them.
    part = _columns(moving[:, : max(0, rows - first)], width, dtype)
    return functional.gelu(PartlyConstantProduct.apply(whole, part, weight, first))


def _sums(windows: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over windows ``(B, T, k)`` of the windows ``(B, k)`` and of their products ``(B, k, k)``, in float64."""
    windows = windows.double()
    return windows.sum(dim=1), windows.transpose(1, 2) @ windows


def _columns(windows: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Windows ``(B, T, k)``, then a column of ones, then zeros up to ``(B, T, width)``."""
    windows = functional.pad(windows, (0, 1), value=1.0)
    return functional.pad(windows, (0, width - windows.shape[2])).to(dtype)


class PartlyConstantProduct(torch.autograd.Function):
    """``x @ weight`` for x ``(B, T, k)`` of which only some rows, those of `part`, need a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Tensor, weight: Tensor, first: int) -> Tensor:
        """The product. `part` is ``(B, R, k)`` and holds once more what stands in x from row `first` on."""
        ctx.save_for_backward(x, weight)
        ctx.rows = slice(first, first + part.shape[1])
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        """Gradients of `part` and `weight`."""
        x, weight = ctx.saved_tensors
        return None, gradients[0][:, ctx.rows] @ weight.transpose(1, 2), x.transpose(1, 2) @ gradients[0], None


class StridedProduct(torch.autograd.Function):
    """A convolution with s <= k < 2 s over rows that lie behind each other; its weights get no gradient.

    A row of the input ``(T, s C)`` holds s positions. Row t of the output reads row t of the input and the first k - s
    positions of row t + 1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """The convolution ``(T, C)`` of x ``(T, s C)``; its last row is wrong where k > s."""
        ctx.save_for_backward(near, far)
        y = x @ near
        if len(far):
            torch.addmm(y[:-1], x[1:, : len(far)], far, out=y[:-1])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of `x`."""
        near, far = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        x = gradient @ near.T
        if len(far):
            torch.addmm(x[1:, : len(far)], gradient[:-1], far.T, out=x[1:, : len(far)])
        return x, None, None


def conv_stack(extractor: Any, config: Any, dtype: torch.dtype) -> ConvStack | None:
    """The feature extractor of a wav2vec 2.0 model; None when it is not wav2vec2-base's kind."""
    kernels, strides = tuple(config.conv_kernel), tuple(config.conv_stride)
    fits = all(stride <= kernel < 2 * stride for kernel, stride in zip(kernels[1:], strides[1:], strict=True))
    plain = config.feat_extract_norm == "group" and config.feat_extract_activation == "gelu" and not config.conv_bias
    if not (fits and plain and len(kernels) > 1):
        return None
    first, *others = extractor.conv_layers
    taps = []
    for layer, stride in zip(others, strides[1:], strict=True):
        weight = layer.conv.weight.permute(2, 1, 0).to(dtype)  # (k, in, out)
        taps.append((weight[:stride].flatten(0, 1), weight[stride:].flatten(0, 1)))
    filters, norm = first.conv.weight[:, 0].double(), first.layer_norm
    return ConvStack(kernels, strides, filters, norm.weight.double(), norm.bias.double(), norm.eps, tuple(taps))
