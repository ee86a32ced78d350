"""The reference form of an encoder: its weights in fp32, in torch. Every other form is compared with it."""

from data.encoders.config import EncoderConfig


def reference_form(config: EncoderConfig) -> EncoderConfig:
    """The reference form of an encoder: its models, those of its members and of its alternatives, in fp32, in torch.

    Endpoints and hashed TF-IDF have one form only and are returned unchanged. An expected fingerprint is dropped: it is
    that of another form.
    """
    reference: EncoderConfig = config.in_fp32()
    return reference
