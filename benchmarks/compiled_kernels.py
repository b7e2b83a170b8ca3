"""What the compiler makes of the fused norms for a card.

python benchmarks/compiled_kernels.py [--capability 90]

JSON lines: instructions in the program and registers of a thread, spills to memory, shared memory. Needs no GPU; where
there is one, its capability is the default.
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

from hcep.encoders.fast import norm_kernels as kernels

MEDIA, NUMBER = "*bf16", "*fp32"
TYPES = {
    **dict.fromkeys(("x", "y", "total", "normed", "one", "two", "beside", "result", "weight", "bias"), MEDIA),
    **dict.fromkeys(("mean", "spread"), NUMBER),
    "width": "i32",
    "eps": "fp32",
}
EVEN = ("width",)  # multiples of 16, as are all addresses
# kernel, and its constants with the compiler's options, as the towers call it
PROGRAMS = [
    (kernels._norm_forward, kernels.norm_options(768) | {"ADD": True, "KEEP": True}),
    (kernels._norm_backward, kernels.norm_options(768) | {"TWO": True, "BESIDE": True}),
]


def compiled(kernel: Any, options: dict[str, Any], card: int) -> Any:
    """Compile one kernel for a card."""
    constants = {name: options[name] for name in kernel.arg_names if name in options}
    signature = {name: "constexpr" if name in constants else TYPES[name] for name in kernel.arg_names}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, help="of the card to compile for: 80, 89, 90 ...")
    args = parser.parse_args()
    major, minor = torch.cuda.get_device_capability() if torch.cuda.is_available() else (9, 0)
    card = args.capability or 10 * major + minor
    for kernel, options in PROGRAMS:
        made = compiled(kernel, options, card)
        shown = {name: value for name, value in options.items() if name not in kernels.FUSED}
        print(json.dumps({"kernel": kernel.__name__, "capability": card, **shown, **resources(made)}), flush=True)


if __name__ == "__main__":
    main()
