"""The fused kernels: what the compiler makes of them for a card, and on a GPU their time beside the library's.

python benchmarks/kernels.py [--capability 90]

JSON lines. Compiling needs no GPU: instructions in the program and registers of a thread, spills to memory, shared
memory. With a GPU, milliseconds of every operation as `hcep.encoders.trial` finds them: one forward pass, and both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

os.environ["TRITON_INTERPRET"] = "0"  # read when Triton is first imported
sys.path.insert(0, str(Path(__file__).parents[1]))

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from hcep.encoders import attention, kernels
from hcep.encoders.operations import attention as attend
from hcep.encoders.operations import gelu, silu
from hcep.encoders.trial import VALUES, outcomes

MEDIA, NUMBER = "*bf16", "*fp32"
TYPES = {
    **dict.fromkeys(("joined", "out", "gradient", "result", "x", "y", "normed", "one", "two", "beside"), MEDIA),
    **dict.fromkeys(("weight", "bias"), MEDIA),
    **dict.fromkeys(("total", "levels", "mean", "spread"), NUMBER),
    **dict.fromkeys(("length", "heads", "width", "count"), "i32"),
    **dict.fromkeys(("scale", "eps"), "fp32"),
}
EVEN = ("width", "count")  # multiples of 16, as are all addresses
# texts of up to 32 and 64 positions, and longer; frames; five seconds of sound
LENGTHS = {32: True, 64: True, 80: True, 52: False, 299: False}


def programs() -> list[tuple[Any, dict[str, str], dict[str, Any]]]:
    """Kernel, types of its arguments, and constants with the compiler's options, as the towers call them."""
    found: list[tuple[Any, dict[str, str], dict[str, Any]]] = []
    for length, causal in LENGTHS.items():
        for kernel, options in attention.launches(length, 64, causal).values():
            found.append((kernel, TYPES, options))
    for quick in (True, False):
        for kernel in (kernels._activation_forward, kernels._activation_backward):
            found.append((kernel, TYPES, kernels.activation_options(quick)))
    # a norm's total is the stream
    norm, types = kernels.norm_options(768), TYPES | {"total": MEDIA}
    found.append((kernels._norm_forward, types, norm | {"ADD": True, "KEEP": True}))
    found.append((kernels._norm_backward, types, norm | {"TWO": True, "BESIDE": True}))
    return found


def compiled(kernel: Any, types: dict[str, str], options: dict[str, Any], card: int) -> Any:
    """Compile one kernel for a card."""
    constants = {name: options[name] for name in kernel.arg_names if name in options}
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    even = {
        (place,): [["tt.divisibility", 16]]
        for place, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name in EVEN
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=even)
    others = {name: value for name, value in options.items() if name not in constants}
    return triton.compile(source, target=GPUTarget("cuda", card, 32), options=others)


def resources(made: Any) -> dict[str, int]:
    """Of a compiled kernel, from the disassembly."""
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "kernel.cubin"
        program.write_bytes(made.asm["cubin"])
        usage, code = (
            subprocess.run([tools / tool, option, program], capture_output=True, text=True, check=True).stdout
            for tool, option in (("cuobjdump", "-res-usage"), ("nvdisasm", "-c"))
        )
    (registers,) = re.findall(r"REG:(\d+)", usage)
    operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", code)
    return {
        "instructions": len(operations),
        "registers": int(registers),
        "spills": sum(name in ("STL", "LDL") for name in operations),
        "shared_bytes": made.metadata.shared,
    }


def time_operations() -> None:
    """Try every operation for the lengths of a step, forward and with the backward pass."""
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for length, causal in LENGTHS.items():
                width = 512 if causal else 768
                x = torch.zeros(1, length, 3 * width, device="cuda", dtype=torch.bfloat16, requires_grad=grad)
                attend(x, width // 64, causal=causal)
            x = torch.zeros(1, 1, device="cuda", dtype=torch.bfloat16, requires_grad=grad)
            gelu(x), silu(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, help="of the card to compile for: 80, 89, 90 ...")
    args = parser.parse_args()
    here = torch.cuda.is_available()
    major, minor = torch.cuda.get_device_capability() if here else (9, 0)
    card = args.capability or 10 * major + minor
    for kernel, types, options in programs():
        made = compiled(kernel, types, options, card)
        shown = {name: value for name, value in options.items() if name not in kernels.FUSED}
        print(json.dumps({"kernel": kernel.__name__, "capability": card, **shown, **resources(made)}), flush=True)
    if here:
        time_operations()
        device = torch.cuda.get_device_name()
        for (name, unit, *_, both), outcome in outcomes().items():
            times = dict(zip(("library_ms", "fused_ms"), outcome.milliseconds, strict=True))
            row = {"operation": name, "unit": unit, "values": VALUES, "backward": both, **times}
            print(json.dumps(row | {"taken": bool(outcome.taken), "device": device}), flush=True)


if __name__ == "__main__":
    main()
