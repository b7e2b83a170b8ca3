"""The fused kernels: what the compiler makes of them for a card, and on a GPU their time beside the library's.

python benchmarks/kernels.py [--capability 90] [--clips 64]

JSON lines. Compiling needs no GPU: instructions in the program and registers of a thread, spills to memory, shared
memory. With a GPU, every operation at the shapes of HCEP's full-size step: milliseconds of one forward pass, and of
both passes.
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
from hcep.encoders.trial import outcomes

MEDIA, NUMBER = "*bf16", "*fp32"
SIZES = {"length": "i32", "heads": "i32", "scale": "fp32"}
FORWARD = {"joined": MEDIA, "out": MEDIA, "total": NUMBER} | SIZES
BACKWARD = {
    "joined": MEDIA,
    "out": MEDIA,
    "total": NUMBER,
    "levels": NUMBER,
    "gradient": MEDIA,
    "result": MEDIA,
} | SIZES


def programs() -> list[tuple[Any, dict[str, str], dict[str, Any], dict[str, int]]]:
    """Kernel, types of its arguments, constants and compiler's options, as the towers call them."""
    found: list[tuple[Any, dict[str, str], dict[str, Any], dict[str, int]]] = []
    for one in (True, False):
        for causal in (False, True):
            shared = {"CAUSAL": causal, "D": 64, "BLOCK": 64}
            found.append((attention._forward, FORWARD, shared | {"ONE": one}, {"num_stages": 1 if one else 2}))
            found.append((attention._key_gradients, BACKWARD, shared | {"ONE": one}, {"num_stages": 1}))
            if not one:
                found.append((attention._query_gradients, BACKWARD, shared, {"num_stages": 2}))
    for quick in (True, False):
        constants = {"SILU": quick, "BLOCK": 2048}
        found.append((kernels._activation_forward, {"x": MEDIA, "y": MEDIA, "count": "i32"}, constants, {}))
        types = {"x": MEDIA, "gradient": MEDIA, "result": MEDIA, "count": "i32"}
        found.append((kernels._activation_backward, types, constants, {}))
    return found


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, Any], options: dict[str, int], card: int) -> Any:
    """Compile one kernel for a card; addresses and counts are multiples of 16, as in training."""
    signature = types | dict.fromkeys(constants, "constexpr")
    even = {
        (place,): [["tt.divisibility", 16]]
        for place, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or name == "count"
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=even)
    return triton.compile(
        source, target=GPUTarget("cuda", card, 32), options={"num_warps": 4} | kernels.FUSED | options
    )


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
    operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", code)
    return {
        "instructions": len(operations),
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),  # type: ignore[index]
        "spills": sum(name in ("STL", "LDL") for name in operations),
        "shared_bytes": made.metadata.shared,
    }


def time_operations(clips: int) -> None:
    """Try every operation at the shapes of a step: eight frames a clip, and sound with two prompts before it."""
    shapes = {"vision": (8 * clips, 52, 768, 12), "audio": (clips, 299, 768, 12), "text": (clips, 32, 512, 8)}
    for grad in (False, True):
        for tower, (count, length, width, heads) in shapes.items():
            for columns, work in (
                (3 * width, lambda x, heads=heads, tower=tower: attend(x, heads, causal=tower == "text")),
                (4 * width, gelu if tower == "audio" else silu),
            ):
                x = torch.zeros(count, length, columns, device="cuda", dtype=torch.bfloat16, requires_grad=grad)
                with torch.set_grad_enabled(grad):
                    work(x)
        # the first convolution's activation is the largest
        x = torch.zeros(clips, 19_200, 512, device="cuda", dtype=torch.bfloat16, requires_grad=grad)
        with torch.set_grad_enabled(grad):
            gelu(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, help="of the card to compile for: 80, 89, 90 ...")
    parser.add_argument("--clips", type=int, default=64)
    args = parser.parse_args()
    here = torch.cuda.is_available()
    major, minor = torch.cuda.get_device_capability() if here else (9, 0)
    card = args.capability or 10 * major + minor
    for kernel, types, constants, options in programs():
        made = compiled(kernel, types, constants, options, card)
        print(json.dumps({"kernel": kernel.__name__, "capability": card, **constants, **resources(made)}), flush=True)
    if here:
        time_operations(args.clips)
        device = torch.cuda.get_device_name()
        for (name, shape, *_, both), outcome in outcomes().items():
            times = dict(zip(("library_ms", "fused_ms"), outcome.milliseconds, strict=True))
            print(
                json.dumps({"operation": name, "shape": shape, "backward": both, **times, "device": device}), flush=True
            )


if __name__ == "__main__":
    main()
