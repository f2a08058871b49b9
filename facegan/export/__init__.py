"""Exports a generator for use without facegan: ONNX, plain PyTorch, a web page, a model card."""
