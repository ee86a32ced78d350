"""A sentence-transformers model in torch, in fp32, bf16 or fp16, on every core or a GPU."""

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from data.encoders.config import TorchConfig
from data.encoders.protocol import Vectors
from data.encoders.transformer.batches import BatchedEncoder, TextBatches
from data.encoders.transformer.memory import Tokens, on_cpu
from data.encoders.transformer.models import fingerprint, open_model, prompts_of
from data.encoders.transformer.precision import Check, check_short, decide, whole_products_are_faster
from data.encoders.transformer.self_test import check_against_model, own_vectors
from data.encoders.transformer.tokens import Tokeniser

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


class TorchModel:
    """The modules of a sentence-transformers model: the transformer, and what makes one vector of its token vectors.

    Args:
        model: the model, in fp32.
    """

    def __init__(self, model: "SentenceTransformer") -> None:
        self.dim = int(model.get_embedding_dimension() or 0)
        self.device: torch.device = model.device
        self.precision = "fp32"
        self.unpadded = False  # whether padding costs next to nothing
        self.transformer, *self.heads = list(model)

    @property
    def pools_prompts(self) -> bool:
        """Whether the tokens of a prompt count in a text's vector."""
        return all(getattr(head, "include_prompt", True) for head in self.heads)

    def in_precision(self, precision: str, packed: bool = True) -> Self:
        """The same model with its transformer in bf16 or fp16; pooling and what follows stay in fp32.

        Args:
            precision: ``bf16`` or ``fp16``.
            packed: whether a BERT encoder may be replaced by a ``PackedBert`` where that is faster.
        """
        import torch

        short = copy.copy(self)
        short.precision = precision
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        short.transformer = copy.deepcopy(self.transformer).to(dtype)
        if precision == "bf16" and whole_products_are_faster(self.device.type):
            from data.encoders.transformer import attention
            from data.encoders.transformer.bert import PackedBert, can_be_packed

            attention.use_in(short.transformer.auto_model)
            if packed and can_be_packed(short.transformer.auto_model):
                short.transformer, short.unpadded = PackedBert(short.transformer.auto_model), True
        return short

    def unit(self, features: "dict[str, Any]") -> "torch.Tensor":
        """Vectors of unit length, float32 of shape (n, dim), where the features are."""
        import torch

        features = self.with_states(features)
        for head in self.heads:
            features = head(features)
        return torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)

    def with_states(self, features: "dict[str, Any]") -> "dict[str, Any]":
        """The features with the transformer's vector of each token, ``token_embeddings``, in float32."""
        features = self.transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        return features

    def on_cpu(self) -> "TorchModel":
        """A copy on the CPU in fp32, made once."""
        return self._cpu_copy

    @cached_property
    def _cpu_copy(self) -> "TorchModel":
        import torch

        twin = copy.copy(self)
        twin.transformer, *twin.heads = map(on_cpu, (self.transformer, *self.heads))
        twin.device = torch.device("cpu")
        return twin


class SentenceEncoder(BatchedEncoder):
    """Batches of texts, and a model in torch that computes them.

    Args:
        batches: with a ``TorchModel``.
    """

    def __init__(self, batches: TextBatches) -> None:
        assert isinstance(batches.model, TorchModel)
        super().__init__(batches)
        self.model = batches.model
        self.device = self.model.device
        self.cosine_to_fp32 = 1.0
        self.fingerprint = ""

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
        """Make an open model ready: choose the precision by the measured check, and compare it with its ``encode``.

        Raises:
            InputError: if the precision asked for fails its check, or vectors are not those of the model's ``encode``.
            EncoderUnavailable: if the precision of existing vectors is not as good as fp32 here.
        """
        import torch

        tokeniser = Tokeniser(model.tokenizer, int(model.max_seq_length or 512), config.truncate)
        prompts, reference_model = prompts_of(model, config), TorchModel(model)
        reference = TextBatches(reference_model, tokeniser, prompts, batch_tokens, threads or torch.get_num_threads())
        forms = {"fp32": reference}

        def measure(precision: str) -> Check:
            forms[precision] = reference.with_model(reference_model.in_precision(precision, packed=not config.compile))
            repeats = 0 if config.bound_to_vectors else 3  # the precision of existing vectors is used at any speed
            check = partial(check_short, reference.here, forms[precision].here, reference_model.device.type, repeats)
            return reference.in_worker(check)

        precision, cosine = decide(
            config.settled_precision, reference_model.device.type, measure, config.bound_to_vectors
        )
        chosen = cls(forms[precision])
        chosen.cosine_to_fp32 = cosine
        chosen.fingerprint = fingerprint(model, precision, prompts, config.truncate)
        theirs = own_vectors(model, prompts.document)
        if config.compile:
            chosen.model.transformer.auto_model.compile(dynamic=True)
        check_against_model(chosen.encode_cut, theirs, config.model)
        return chosen

    def encode_cut(self, texts: Sequence[str]) -> Vectors:
        """As ``encode``, but texts that are too long are cut under every policy: for the checks at load."""
        return self.batches.documents(texts, refuse=False).vectors

    def encode_here(self, texts: Sequence[str]) -> Vectors:
        """As ``encode_cut``, in one batch in the calling thread."""
        return self.batches.here(texts)

    def states(self, tokens: Tokens) -> "torch.Tensor":
        """The model's vectors of tokens before pooling, float32 (texts, longest, width), on its device.

        Computed in the calling thread; padding is at the side given by ``tokenise.pads_left``.
        """
        here = self.batches.features(tokens)
        features = self.model.with_states({name: value.to(self.device) for name, value in here.items()})
        states: torch.Tensor = features["token_embeddings"]
        return states
