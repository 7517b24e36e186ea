"""Where a training run writes what happens: log.jsonl, progress.png, TensorBoard, Weights & Biases."""
