"""Checks that a device exists before a model is loaded onto it: libraries report that late and in many ways."""

from data.errors import EncoderUnavailable


def check_device(device: str) -> None:
    """Check that a named GPU exists; ``auto``, ``cpu`` and names of other devices pass.

    Raises:
        EncoderUnavailable: if there is no such GPU on this machine.
    """
    kind, _, number = device.partition(":")
    if kind not in ("cuda", "mps"):
        return
    import torch

    if kind == "mps":
        count = int(torch.backends.mps.is_available())
    else:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise EncoderUnavailable(
            f"encoder.device: {device} is not on this machine, which has {count} {kind} devices",
            "Use device: auto or cpu, or give the encoder a fallback.",
        )
