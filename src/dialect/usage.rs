//! Reading usage out of answers.
