//! All targets under libFuzzer: `OSIER_FUZZ_TARGET` names the one to run. See `tests/soak`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("OSIER_FUZZ_TARGET").unwrap_or_default();
        let Some(target) = osier_fuzz::target(&name) else {
            let names: Vec<_> = osier_fuzz::TARGETS.iter().map(|target| target.name).collect();
            panic!("set OSIER_FUZZ_TARGET to one of {}", names.join(", "));
        };
        RUN.get_or_init(|| target.run);
    },
    |data: &[u8]| {
        if let Some(run) = RUN.get() {
            run(data);
        }
    }
);
