//! Configurations and endpoints files: an accepted one reads back to itself, a refused one gives errors of bounded
//! length.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use murmuration::config::{self, endpoints_file};
use murmuration::plugin::Catalog;

/// The longest list of errors, for any file.
const ERRORS_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    match config::read(text, "fuzz", &Catalog::builtin()) {
        Ok(blueprint) => {
            let again =
                config::read(&blueprint.effective, "again", &Catalog::builtin()).expect("an effective form is valid");
            assert_eq!(again.effective, blueprint.effective);
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            assert!(errors.to_string().len() < ERRORS_BYTES_MAX);
        }
    }
    match endpoints_file::read(text, "fuzz") {
        Ok(file) => assert!(file.endpoints.iter().all(|endpoint| endpoint.port > 0 && !endpoint.name.is_empty())),
        Err(errors) => assert!(!errors.errors().is_empty() && errors.to_string().len() < ERRORS_BYTES_MAX),
    }
    Corpus::Keep
});
