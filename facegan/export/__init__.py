"""A generator made ready to leave: ONNX, plain PyTorch, a model card, and a page that draws faces by itself."""
