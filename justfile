# What CI does, in its order.
check: fmt clippy test generated deny

deny:
    cargo deny check

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace

# The reference pages say what the binary does: write them again after a change of settings or flags.
generate:
    cargo run -- reference docs/reference

generated: generate
    git diff --exit-code docs/reference

# Figures for docs/design/measurements.md; minutes, and best on a quiet machine.
bench:
    cargo run --release -p promptmill-examples --example bench -- all
