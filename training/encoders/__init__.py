"""Fine-tuning of text encoders, and the fusion of several, on pairs that belong together."""
