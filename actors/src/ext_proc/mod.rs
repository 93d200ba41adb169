//! The ext-proc service: one stream for each HTTP request.
