//! Reading OpenAI request bodies.
