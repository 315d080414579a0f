//! Files typed by people: every mistake becomes a message.
#![no_main]
use configs::{Catalogue, Document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Catalogue::default().add("fuzz.toml", text);
    let document = Document::parse("fuzz.toml", text);
    {
        let mut root = document.root();
        let mut section = root.section("a");
        section.integer("i", 0..=10);
        section.number("n", 0.0..=1.0);
        section.duration_ms("d", 0..=10);
        section.size_bytes("s", 0..=10);
        section.texts("t");
        section.flag("f");
        section.sections("x");
    }
    for problem in document.finish().0 {
        assert!(!problem.message.is_empty());
    }
});
