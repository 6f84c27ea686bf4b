//! Answers as models send them: a corpus with the right outcome beside each, and a fuzzer that starts from it.

mod corpus;
mod fuzz;
