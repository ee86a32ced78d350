"""Link models: features, sampler, batches, loop, and the trained model as a scorer of pairs."""
