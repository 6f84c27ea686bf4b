//! Programs that show promptmill as a library, and its benches: see `examples/examples`.
