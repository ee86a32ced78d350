"""Models exported to ONNX: run by ONNX Runtime, calibrated to int8, laid out for Triton."""
