"""One tokenizer record over the `tokenizers` library, whatever file the vocabulary came from.

Read: a Hugging Face directory, a SentencePiece `.model`, or the vocabulary inside a GGUF file.
Byte-level BPE and SentencePiece (BPE, Unigram) are supported. WordPiece, which encoders have, is
read from a tokenizer.json; it forgets spaces, so `token_bytes` and `pieces` refuse it. Chat
templates are carried here as text and rendered in jaxrl/chat/templates.py.
"""

import codecs
import dataclasses
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers

from jaxrl.data import vocabularies


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back. `eos_ids` end a turn, the first being the one to write."""

    core: tokenizers.Tokenizer
    eos_ids: tuple[int, ...]
    bos_id: int | None
    pad_id: int  # fills rows; may equal an eos id, so masks never come from `== pad_id`
    chat_template: str | None = None

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self.core.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> list[int]:
        """Ids of the text. Special tokens written out in it are recognised; none is added."""
        return self.core.encode(text, add_special_tokens=False).ids

    def encode_many(self, texts: Sequence[str], specials: bool = False) -> list[list[int]]:
        """Ids of each text, on all cores. specials: with what the file says belongs around a text,
        such as BERT's [CLS] and [SEP]."""
        return [
            e.ids for e in self.core.encode_batch_fast(list(texts), add_special_tokens=specials)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out."""
        return self.core.decode([int(i) for i in ids], skip_special_tokens=True)

    def prefix(self) -> list[int]:
        """What the model was trained to see before any text: [bos] or nothing."""
        ids = self.core.encode("", add_special_tokens=True).ids
        return [i for i in ids if i == self.bos_id]

    def text(self, id: int | None) -> str | None:
        """The token as the vocabulary spells it, special tokens included."""
        return None if id is None else self.core.id_to_token(id)

    def specials(self) -> list[str]:
        """The special tokens, as text."""
        return [t.content for t in self.core.get_added_tokens_decoder().values() if t.special]

    def special_ids(self) -> frozenset[int]:
        """The special tokens, as ids."""
        return frozenset(i for i, t in self.core.get_added_tokens_decoder().items() if t.special)

    def token_bytes(self) -> list[bytes]:
        """Bytes each id adds to the decoded text [vocab_size]; b"" for special tokens and holes."""
        return self._bytes

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Text of each id for display; joined they give the text, special tokens spelt out.

        A character spread over several tokens stands at its last one.
        """
        added, state, out = self.core.get_added_tokens_decoder(), _utf8(), []
        for i in map(int, ids):
            special = i in added and added[i].special
            raw = self._bytes[i] if 0 <= i < len(self._bytes) else b""
            out.append(state.decode(raw, special) + (added[i].content if special else ""))
        if out:
            out[-1] += state.decode(b"", True)
        return out

    def save(self, directory) -> None:
        """Writes tokenizer.json and tokenizer_config.json, as transformers reads them."""
        directory = Path(directory)
        self.core.save(str(directory / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "bos_token": self.text(self.bos_id),
            "eos_token": self.text(self.eos_ids[0]) if self.eos_ids else None,
            "pad_token": self.text(self.pad_id),
            "chat_template": self.chat_template,
        }
        config = {key: value for key, value in config.items() if value is not None}
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (directory / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @functools.cached_property
    def _bytes(self):
        out, added = [b""] * self.vocab_size, self.core.get_added_tokens_decoder()
        to_bytes = _token_to_bytes(self.core)
        for token, i in self.core.get_vocab(with_added_tokens=True).items():
            if i not in added:
                out[i] = to_bytes(token)
            elif not added[i].special:
                out[i] = token.encode()
        return out


def load(path) -> Tokenizer:
    """A Hugging Face directory, a SentencePiece .model, or a .gguf file -> Tokenizer."""
    path = Path(path)
    if path.suffix == ".gguf" and path.is_file():
        import gguf  # only this branch needs it

        return from_gguf(gguf.GGUFReader(path))
    if path.suffix == ".model" and path.is_file():
        return from_sentencepiece(path)
    if (path / "tokenizer.json").is_file():
        return from_directory(path)
    if (path / "tokenizer.model").is_file():
        return from_sentencepiece(path / "tokenizer.model")
    raise FileNotFoundError(
        f"no tokenizer at {path}: expected a directory with tokenizer.json or tokenizer.model, a "
        ".model file or a .gguf file"
    )


def from_directory(path) -> Tokenizer:
    """tokenizer.json with its neighbours: special tokens, further end tokens, chat template."""
    path = Path(path)
    try:
        core = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"{path}/tokenizer.json cannot be read ({error}): fetch it again"
        ) from error
    core.no_truncation()
    core.no_padding()
    config = _json(path / "special_tokens_map.json") | _json(path / "tokenizer_config.json")
    named = {key: _special_id(core, config, key) for key in ("bos_token", "eos_token", "pad_token")}
    generation = _json(path / "config.json") | _json(path / "generation_config.json")
    eos = [named["eos_token"], *_as_list(generation.get("eos_token_id"))]
    template = _chat_template(path, config.get("chat_template"))
    return _record(core, eos, named["bos_token"], named["pad_token"], template)


def from_gguf(reader) -> Tokenizer:
    """The tokenizer.* keys of an open gguf.GGUFReader -> Tokenizer."""
    fields = {k: f for k, f in reader.fields.items() if k.startswith("tokenizer.")}
    get = lambda key, default=None: fields[key].contents() if key in fields else default
    ggml = lambda key, default=None: get(f"tokenizer.ggml.{key}", default)
    kind = ggml("model")
    for key in ("tokens", "token_type", "merges" if kind == "gpt2" else "scores"):
        if f"tokenizer.ggml.{key}" not in fields:
            raise ValueError(f"the GGUF file lacks tokenizer.ggml.{key}: convert the model again")
    pieces, kinds = ggml("tokens"), ggml("token_type")
    if kind == "gpt2":
        core = vocabularies.byte_level(pieces, kinds, ggml("merges"), ggml("pre", "default"))
    elif kind == "llama":
        unk, prefix = ggml("unknown_token_id", 0), ggml("add_space_prefix", True)
        model = vocabularies.bpe(pieces, ggml("scores"), kinds, unk)
        core = vocabularies.sentencepiece(model, pieces, kinds, prefix=prefix)
    else:
        raise ValueError(f"tokenizer.ggml.model={kind!r} is not supported: use 'gpt2' or 'llama'")
    bos = ggml("bos_token_id")
    if bos is not None and ggml("add_bos_token", kind == "llama"):
        vocabularies.prepend(core, pieces[bos], bos)
    eos = [ggml("eos_token_id"), ggml("eot_token_id")]
    return _record(core, eos, bos, ggml("padding_token_id"), get("tokenizer.chat_template"))


def from_sentencepiece(path) -> Tokenizer:
    """A SentencePiece .model (BPE or Unigram), rebuilt in the `tokenizers` library."""
    proto = _sentencepiece_proto(path)
    spec, norm = proto.trainer_spec, proto.normalizer_spec
    builders = {spec.BPE: vocabularies.bpe, spec.UNIGRAM: vocabularies.unigram}
    if spec.model_type not in builders:
        raise ValueError(f"{path} has model_type={spec.model_type}: use a BPE or Unigram model")
    pieces, scores, kinds = zip(*((p.piece, p.score, p.type) for p in proto.pieces), strict=True)
    model = builders[spec.model_type](pieces, scores, kinds, kinds.index(vocabularies.UNKNOWN))
    clean = (
        [normalizers.Precompiled(norm.precompiled_charsmap)] if norm.precompiled_charsmap else []
    )
    if norm.remove_extra_whitespaces:
        clean += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    prefix = norm.add_dummy_prefix
    core = vocabularies.sentencepiece(model, pieces, kinds, prefix=prefix, clean=clean)
    named = {p: i for i, p in enumerate(pieces) if kinds[i] == vocabularies.CONTROL}
    bos, eos, pad = (named.get(t) for t in (spec.bos_piece, spec.eos_piece, spec.pad_piece))
    if bos is not None:
        vocabularies.prepend(core, pieces[bos], bos)
    return _record(core, [eos], bos, pad, None)


def _sentencepiece_proto(path):
    from sentencepiece import sentencepiece_model_pb2  # needs protobuf; nothing else does

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(Path(path).read_bytes())
    except Exception as error:  # protobuf's DecodeError lives in a private module
        raise ValueError(f"{path} is not a SentencePiece model: fetch it again") from error
    return proto


def _record(core, eos, bos, pad, template):
    eos = tuple(dict.fromkeys(i for i in eos if i is not None))  # unique, in order
    fill = pad if pad is not None else eos[0] if eos else 0
    return Tokenizer(core, eos, bos, fill, template)


def _token_to_bytes(core):
    decoder = core.decoder.__getstate__().decode() if core.decoder is not None else ""
    if '"ByteLevel"' in decoder:
        table = _byte_table()
        spell = lambda token: bytes(table[ch] for ch in token)
        return lambda token: spell(token) if set(token) <= table.keys() else token.encode()
    if "▁" in decoder:
        byte = re.compile("<0x([0-9A-F]{2})>")
        fallback = lambda token: bytes.fromhex(m[1]) if (m := byte.fullmatch(token)) else None
        return lambda token: fallback(token) or token.replace("▁", " ").encode()
    raise ValueError(
        f"the tokenizer's decoder ({decoder[:80]!r}) is neither byte-level nor SentencePiece: the "
        "bytes of its tokens are not defined"
    )


def _byte_table():
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + n): b for n, b in enumerate(rest)}


def _utf8():
    return codecs.getincrementaldecoder("utf-8")("replace")


def _json(path):
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): fetch it again") from error


def _special_id(core, config, key):
    token = config.get(key)
    token = token["content"] if isinstance(token, dict) else token
    return None if token is None else core.token_to_id(token)


def _as_list(x):
    return [] if x is None else list(x) if isinstance(x, list) else [x]


def _chat_template(path, given):
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    if isinstance(given, list):
        given = {entry["name"]: entry["template"] for entry in given}.get("default")
    return given
