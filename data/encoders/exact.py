"""The exact form of an encoder: its weights in fp32, in torch. What every other form of it is measured against."""

from data.encoders.config import EncoderConfig


def exact_form(config: EncoderConfig) -> EncoderConfig:
    """An encoder whose vectors depend on no form: it, its members and its fallbacks in fp32, in torch.

    Endpoints and hashed TF-IDF have one form, and stay as they are. A fingerprint that is expected is that of another
    form, and is left out.
    """
    if config.fallback:
        alone = config.model_copy(update={"fallback": ()})
        return exact_form(alone).model_copy(update={"fallback": tuple(map(exact_form, config.fallback))})
    if config.ensemble is not None:
        members = tuple(map(exact_form, config.ensemble.members))
        ensemble = config.ensemble.model_copy(update={"members": members})
        return config.model_copy(update={"ensemble": ensemble, "fingerprint": None})
    if config.endpoint is not None or config.hashed is not None:
        return config.model_copy(update={"fingerprint": None})
    exact = {"backend": "torch", "precision": "fp32", "exported": None, "fingerprint": None}
    return config.model_copy(update=exact)
