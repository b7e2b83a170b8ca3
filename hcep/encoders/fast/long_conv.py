"""wav2vec 2.0's positional convolution by the Fourier transform.

Its kernel is 128 positions long and goes over groups of 48 channels. Libraries take longer for it than for half of the
tower. Under the Fourier transform it is one small matrix product for each frequency and group.

Shapes: B sequences, T positions, C channels, G groups, k kernel, N length of the transform.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def fast_length(least: int) -> int:
    """The first length from `least` on without a prime factor above 5, as ``scipy.fft.next_fast_len`` for real input.

    Written here, because importing scipy.fft takes a tenth of the time that importing torch does.
    """
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


class LongConv(NamedTuple):
    """A convolution over positions with padding k/2, which gives as many positions as it gets.

    Attributes
    ----------
    weight, bias : float32 Tensor (C, C / G, k) and (C,)
        Filters and what is added to their output.
    groups : int
        G.
    spectra : dict of int to complex64 Tensor
        Transforms of the filters by N; each is added when its length first occurs.
    """

    weight: Tensor
    bias: Tensor
    groups: int
    spectra: dict[int, Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The convolution ``(B, T, C)``, in float32, of x ``(B, T, C)`` of any type."""
        length, width = x.shape[1], self.weight.shape[1]
        # The transform takes the sequence for a circle; zeros behind its end keep the two ends apart.
        size = fast_length(length + self.weight.shape[2] // 2)
        spectrum = torch.fft.rfft(x.float(), size, dim=1).unflatten(2, (self.groups, width))
        mixed = torch.bmm(spectrum.permute(1, 2, 0, 3).flatten(0, 1), self._spectrum(size))
        mixed = mixed.unflatten(0, (-1, self.groups)).permute(2, 0, 1, 3).flatten(2)
        return torch.fft.irfft(mixed, size, dim=1)[:, :length] + self.bias

    def _spectrum(self, size: int) -> Tensor:
        """The transform of the filters for length N: ``(N/2 + 1) G`` matrices from input to output channels."""
        if size not in self.spectra:
            with torch.no_grad():
                kernel = self.weight.shape[2]
                place = torch.arange(-(kernel // 2), kernel - kernel // 2, device=self.weight.device) % size
                taps = self.weight.new_zeros((*self.weight.shape[:2], size))
                taps[..., place] = self.weight
                # What torch calls a convolution is a correlation, which takes the conjugate.
                spectrum = torch.fft.rfft(taps).conj().unflatten(0, (self.groups, -1))
                self.spectra[size] = spectrum.permute(3, 0, 2, 1).flatten(0, 1).resolve_conj().contiguous()
        return self.spectra[size]
