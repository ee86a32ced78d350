"""A sentence-transformers model on batches by token area, in fp32, bf16 or fp16, on every core or a GPU."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from data.batching import Positions, padding_share, token_batches
from data.encoders import Encoded, Vectors
from data.encoders.config import TorchConfig
from data.encoders.transformer.cores import single_core_threads
from data.encoders.transformer.memory import Tokens, forward_within_memory, on_cpu
from data.encoders.transformer.models import Prompts, fingerprint, open_model, prompts_of
from data.encoders.transformer.precision import Check, check_short, decide, whole_products_are_faster
from data.encoders.transformer.self_test import check_against_model, own_vectors
from data.encoders.transformer.tokens import Tokenised, Tokeniser
from data.errors import TextRefused

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Batch = TypeVar("Batch")
Made = TypeVar("Made")

PIECE = 512  # texts tokenised at once: those of the next piece while batches of this one are computed


class SentenceEncoder:
    """Tokenises texts in pieces of like length and runs batches of them side by side.

    On a CPU each batch has one core to itself: cores that share every matrix product wait for each other after each,
    and on a machine with other work that costs most of the speed.

    Args:
        model: the model, in fp32.
        tokeniser: its tokenizer.
        prompts: what is put before texts.
        batch_tokens: largest padded area of a batch.
        threads: batches at once on a CPU.
    """

    shows_tokens = True  # what it computes before pooling can be had: ``states``

    def __init__(
        self, model: "SentenceTransformer", tokeniser: Tokeniser, prompts: Prompts, batch_tokens: int, threads: int
    ) -> None:
        self.precision = "fp32"
        self.cosine_to_fp32 = 1.0
        self.fingerprint = ""
        self.dim = int(model.get_embedding_dimension() or 0)
        self.device: torch.device = model.device
        self.prompts = prompts
        self.tokenise = tokeniser
        self.batch_tokens = batch_tokens
        self._transformer, *self._heads = list(model)
        self._pool = single_core_threads(threads if self.device.type == "cpu" else 1)
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    @classmethod
    def load(cls, config: TorchConfig, batch_tokens: int, threads: int | None) -> Self:
        """Open the model a config names and make it ready.

        Raises:
            InputError: if there is no such model or device, or ``of_model`` refuses it.
        """
        import torch

        available = "cuda" if torch.cuda.is_available() else "cpu"
        model = open_model(config.model, available if config.device == "auto" else config.device, config.max_length)
        return cls.of_model(model, config, batch_tokens, threads)

    @classmethod
    def of_model(
        cls, model: "SentenceTransformer", config: TorchConfig, batch_tokens: int, threads: int | None
    ) -> Self:
        """Make an open model ready: choose the precision by the measured check, and hold its vectors to its own.

        Raises:
            InputError: if the precision asked for fails its check, or vectors are not those of the model's ``encode``.
            EncoderUnavailable: if the precision of vectors that are there is not as good as fp32 here.
        """
        import torch

        tokeniser = Tokeniser(model.tokenizer, int(model.max_seq_length or 512), config.truncate)
        exact = cls(model, tokeniser, prompts_of(model, config), batch_tokens, threads or torch.get_num_threads())

        forms = {"fp32": exact}

        def measure(precision: str) -> Check:
            forms[precision] = exact._in(precision)
            check = partial(check_short, exact.encode_here, forms[precision].encode_here, exact.device.type)
            return exact._pool.submit(check).result()

        precision, cosine = decide(config.settled_precision, exact.device.type, measure, config.bound_to_vectors)
        chosen = forms[precision]
        chosen.precision, chosen.cosine_to_fp32 = precision, cosine
        chosen.fingerprint = fingerprint(model, precision, exact.prompts, config.truncate)
        theirs = own_vectors(model, exact.prompts.document)
        if config.compile:
            chosen._transformer.auto_model.compile(dynamic=True)
        check_against_model(chosen.encode_cut, theirs, config.model)
        return chosen

    def _in(self, precision: str) -> Self:
        """The same encoder with its transformer in bf16 or fp16; pooling and what follows stay in fp32."""
        import torch

        short = copy.copy(self)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        short._transformer = copy.deepcopy(self._transformer).to(dtype)
        if precision == "bf16" and whole_products_are_faster(self.device.type):
            from data.encoders.transformer import attention

            attention.use(short._transformer.auto_model)
        return short

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions: as ``encode``, behind the prompt for them; one that is too long is always cut."""
        return self._encode(texts, self.prompts.query, refuse=False).vectors

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of documents with the tokens and the padding they took.

        Raises:
            TextRefused: if a text is too long and the policy is ``error``, or the model's vectors are not finite.
        """
        return self._encode(texts, self.prompts.document)

    def encode_cut(self, texts: Sequence[str]) -> Vectors:
        """As ``encode``, and texts that are too long are cut whatever the policy: for the checks at load."""
        return self._encode(texts, self.prompts.document, refuse=False).vectors

    def encode_here(self, texts: Sequence[str]) -> Vectors:
        """As ``encode_cut``, in one batch in the calling thread."""
        return self._forward(self.tokenise(texts, self.prompts.document).numbers)

    def _encode(self, texts: Sequence[str], prompt: str, refuse: bool = True) -> Encoded:
        lengths, dropped = np.zeros(len(texts), np.int32), np.zeros(len(texts), np.int32)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        plan: list[Positions] = []

        def arriving() -> Iterator[Tokens]:
            for positions, tokenised in self._pieces(texts, prompt):
                if refuse:
                    self.tokenise.refuse_cut(tokenised, positions, texts)
                lengths[positions] = [len(text) for text in tokenised.numbers]
                dropped[positions] = tokenised.dropped
                for batch in token_batches(lengths[positions], self.batch_tokens):
                    plan.append(positions[batch])
                    yield [tokenised.numbers[i] for i in batch]

        retries = 0
        for number, (part, ran_out) in enumerate(self._compute(arriving(), self.tokenise.prompt_numbers(prompt))):
            self.check_finite(part, plan[number], texts)
            vectors[plan[number]] = part
            retries += ran_out
        return Encoded(vectors, lengths, padding_share(lengths, plan), dropped, retries)

    def _pieces(self, texts: Sequence[str], prompt: str) -> Iterator[tuple[Positions, Tokenised]]:
        """Texts in pieces of like length, longest first, each tokenised while the one before it is computed."""
        order: Positions = np.argsort([-len(text) for text in texts], kind="stable").astype(np.int64)
        pieces = [order[start : start + PIECE] for start in range(0, len(order), PIECE)]
        read = [[texts[i] for i in piece] for piece in pieces]
        tokenise = partial(self.tokenise, prompt=prompt)
        ahead = map(tokenise, read) if len(pieces) < 2 else self._ahead.map(tokenise, read)
        yield from zip(pieces, ahead, strict=True)

    def _compute(self, batches: Iterable[Tokens], prompt: Sequence[int]) -> Iterator[tuple[Vectors, int]]:
        """Vectors of each batch, in order, and how many times memory ran out on the way."""
        forward = partial(self._forward, prompt_tokens=len(prompt))
        last = None if self.device.type == "cpu" else partial(self._forward_on_cpu, prompt_tokens=len(prompt))
        again = partial(forward_within_memory, forward=forward, at_last=last)
        if self.device.type == "cuda":
            from data.encoders.transformer.gpu import batches_on_gpu

            features = partial(self._features, prompt_tokens=len(prompt))
            yield from batches_on_gpu(batches, self.device, features, self._unit, again)
            return
        yield from self.side_by_side(again, batches)

    def side_by_side(self, work: Callable[[Batch], Made], batches: Iterable[Batch]) -> Iterator[Made]:
        """What ``work`` makes of each batch, in order: on a CPU a batch on each core, on a GPU one after the other."""
        running = [self._pool.submit(work, batch) for batch in batches]
        try:
            yield from (batch.result() for batch in running)
        finally:
            for batch in running:  # those behind one that failed
                batch.cancel()

    def _forward(self, tokens: Tokens, prompt_tokens: int = 0) -> Vectors:
        """Vectors of one batch, computed in the calling thread."""
        import torch

        with torch.inference_mode():
            here = self._features(tokens, prompt_tokens)
            vectors: Vectors = self._unit({name: value.to(self.device) for name, value in here.items()}).cpu().numpy()
        return vectors

    def _forward_on_cpu(self, tokens: Tokens, prompt_tokens: int) -> Vectors:
        return self._cpu_twin._forward(tokens, prompt_tokens)

    @cached_property
    def _cpu_twin(self) -> Self:
        import torch

        twin = copy.copy(self)
        twin._transformer, *twin._heads = map(on_cpu, (self._transformer, *self._heads))
        twin.device = torch.device("cpu")
        return twin

    def _unit(self, features: "dict[str, Any]") -> "torch.Tensor":
        """Vectors of unit length, float32 of shape (n, dim), where the features are."""
        import torch

        features = self._states(features)
        for head in self._heads:
            features = head(features)
        return torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)

    def states(self, tokens: Tokens) -> "torch.Tensor":
        """What the model says of each token before pooling, float32 (texts, longest, width), on its device.

        Computed in the calling thread; padding is at the side that ``tokenise.pads_left`` says.
        """
        here = self._features(tokens, 0)
        features = self._states({name: value.to(self.device) for name, value in here.items()})
        states: torch.Tensor = features["token_embeddings"]
        return states

    def _states(self, features: "dict[str, Any]") -> "dict[str, Any]":
        features = self._transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        return features

    def _features(self, tokens: Tokens, prompt_tokens: int) -> "dict[str, torch.Tensor]":
        """What the model reads: token numbers and attention mask, int64 of shape (texts, longest), on the CPU."""
        import torch

        longest = max(map(len, tokens))
        numbers = np.full((len(tokens), longest), self.tokenise.padding, dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, text in enumerate(tokens):
            place = slice(longest - len(text), None) if self.tokenise.pads_left else slice(len(text))
            numbers[row, place] = text
            mask[row, place] = 1
        features = {"input_ids": torch.from_numpy(numbers), "attention_mask": torch.from_numpy(mask)}
        return features | ({"prompt_length": torch.tensor([prompt_tokens])} if prompt_tokens else {})

    def check_finite(self, vectors: Vectors, batch: Positions, texts: Sequence[str]) -> None:
        """Refuse what cannot be compared.

        Args:
            vectors: a row for each text of a batch, (n, any).
            batch: places of its texts among ``texts``.
            texts: all that is encoded.

        Raises:
            TextRefused: if a row holds NaN or an infinity; names its text.
        """
        bad = batch[~np.isfinite(vectors).all(axis=1)]
        if len(bad):
            raise TextRefused(
                f"encoder: in {self.precision} the model gives values that are not finite for {len(bad)} of a batch "
                f"of {len(batch)} texts: {', '.join(map(str, sorted(bad)[:10]))}; text {bad[0]} begins "
                f"{texts[int(bad[0])][:60]!r}",
                "Try encoder.precision: fp32. If that gives the same, leave the text out, or mend the model.",
                texts[int(bad[0])],
            )
