#!/usr/bin/env bash
# transformers 5.23.0: of wav2vec 2.0, HuBERT and WavLM with a norm before each part (`do_stable_layer_norm`, as
# wav2vec2-large-lv60), the last of `hidden_states` is not `last_hidden_state`: the final norm is missing in it. In 4.57.1
# both are the same, so a weighted sum over layers has another value after an update, and there is no error. The encoder
# called alone gives no hidden states in 5.23.0 (None), and all of them in 4.57.1.
. "$(dirname "$0")/common.bash" torch==2.13.0 numpy==2.4.0 transformers==5.23.0
cat > states.py <<'PY'
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModel

sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
sizes |= {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
for kind in ("wav2vec2", "hubert", "wavlm"):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, do_stable_layer_norm=True, feat_extract_norm="layer", **sizes)
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        found = model(torch.randn(1, 4000), output_hidden_states=True)
        alone = model.encoder(torch.randn(1, 5, 32), output_hidden_states=True).hidden_states
    gap = float((found.hidden_states[-1] - found.last_hidden_state).abs().max())
    told = "none" if alone is None else f"{len(alone)} states"
    print(f"transformers {transformers.__version__}, {kind}: largest difference {gap:.2f}; the encoder alone gives {told}")
    new = sys.argv[1] == "new"
    assert (gap > 0.5) == new and (gap == 0) != new and (alone is None) == new, "the behaviour has changed"
PY
"$python" states.py new
"$python" -m pip install -qq transformers==4.57.1
"$python" states.py old
