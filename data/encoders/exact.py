"""The exact form of an encoder: its weights in fp32, in torch. What every other form of it is measured against."""

from data.encoders.config import EncoderConfig


def exact_form(config: EncoderConfig) -> EncoderConfig:
    """An encoder whose vectors depend on no form: it, its members and its alternatives in fp32, in torch.

    Endpoints and hashed TF-IDF have one form, and stay as they are. A fingerprint that is expected is that of another
    form, and is left out.
    """
    exact: EncoderConfig = config.in_fp32()
    return exact
