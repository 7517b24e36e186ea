"""Training on several devices or machines: one fold over ranks (DDP), folds over a Dask cluster."""
