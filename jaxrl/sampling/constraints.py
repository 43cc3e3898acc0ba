"""What a reply may be, as masks over the vocabulary: one of some texts, or JSON of a schema.

The automaton is llguidance's (extra `chat`); it is walked on the host, between two draws. JSON
comes as json.dumps writes it, one space after commas and colons and none elsewhere, or a model that
likes spaces would never end. A schema with a keyword that is not enforced is refused.
"""

import functools
import json

import numpy as np

OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammars:
    """Constraints over one vocabulary of V ids, those that no token has included."""

    def __init__(self, tokenizer, V):
        self._tokenizer, self._V = tokenizer, V
        self._first = functools.lru_cache(maxsize=64)(self._compiled)

    def matcher(self, constraint, max_new):
        """A Matcher at its start, or a ValueError if no reply of max_new tokens could fit.

        constraint: a tuple of texts, or a JSON schema as a dict. Whether JSON of a schema fits into
        max_new tokens is not known beforehand: one that does not ends as "length".
        """
        if isinstance(constraint, dict):
            return Matcher(self._first("schema", json.dumps(constraint)).deep_copy(), self._V)
        if not (isinstance(constraint, tuple) and constraint and all(constraint)):
            raise ValueError(
                f"constraint={constraint!r:.100}: give a JSON schema, or a tuple of texts of which "
                "none is empty"
            )
        shortest = 1 + min(len(self._tokenizer.encode(text)) for text in constraint)
        if shortest > max_new:
            raise ValueError(
                f"max_new={max_new}: the shortest choice of {list(constraint)!r:.100} takes "
                f"{shortest} tokens, its end included"
            )
        return Matcher(self._first("choice", json.dumps(constraint)).deep_copy(), self._V)

    def _compiled(self, kind, text):
        library = _library()
        if kind == "schema":
            grammar = library.LLMatcher.grammar_from_json_schema(text, overrides=OPTIONS)
        else:  # strings of a Lark grammar are JSON's
            texts = (json.dumps(choice, ensure_ascii=False) for choice in json.loads(text))
            grammar = library.LLMatcher.grammar_from_lark(f"start: {' | '.join(texts)}")
        matcher = library.LLMatcher(self._tokens, grammar, log_level=0)
        if matcher.is_error():
            why = " ".join(matcher.get_error().split())
            raise ValueError(f"constraint={text:.100}: {why:.200}; give one that can be met")
        return matcher

    @functools.cached_property
    def _tokens(self):
        ends = list(self._tokenizer.eos_ids)
        if not ends:
            raise ValueError("constraint: the tokenizer has no end token to close a reply with")
        text = self._tokenizer.core.to_str()
        return _library().LLTokenizer(text, n_vocab=self._V, eos_token=ends)


class Matcher:
    """Where in its constraint a reply is."""

    def __init__(self, state, V):
        self._state, self._V = state, V

    def allowed(self):
        """[V] bool: the tokens that may come next."""
        bits = np.frombuffer(self._state.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._V].astype(bool)

    def take(self, token):
        """Goes on by a token that was drawn; False where the automaton has reached its limits."""
        if self._state.is_stopped():  # only the end could be drawn: no more fits, or it has failed
            return not self._state.is_error()
        return self._state.consume_token(token)


def _library():
    try:
        import llguidance  # nobody else needs it
    except ImportError:
        raise ValueError(
            'constraint: it needs the package llguidance: pip install "jaxrl[chat]"'
        ) from None
    return llguidance
