//! Metrics pages: a comment changes nothing, and what is read is in its range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use murmuration::dialect::engine::EngineSpec;
use murmuration::dialect::metrics_page::read_page;

fuzz_target!(|page: &[u8]| {
    for spec in [EngineSpec::vllm(), EngineSpec::sglang(), EngineSpec::trtllm_serve()] {
        let report = read_page(page, &spec);
        let commented = [b"# a comment\n", page].concat();
        assert_eq!(format!("{report:?}"), format!("{:?}", read_page(&commented, &spec)));
    }
});
