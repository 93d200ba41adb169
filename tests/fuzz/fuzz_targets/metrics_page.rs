//! Metrics pages: a comment above a page does not change the result.
#![no_main]

use libfuzzer_sys::fuzz_target;
use murmuration::dialect::engine::EngineSpec;
use murmuration::dialect::metrics_page::read_page;

fuzz_target!(|page: &[u8]| {
    for spec in [EngineSpec::vllm(), EngineSpec::sglang(), EngineSpec::trtllm_serve()] {
        let report = read_page(page, &spec);
        let commented = [b"# a comment\n", page].concat();
        let commented = read_page(&commented, &spec);
        // The error is not compared, because it may name a line number, which the comment changes.
        assert_eq!(format!("{:?}", report.ok()), format!("{:?}", commented.ok()));
    }
});
