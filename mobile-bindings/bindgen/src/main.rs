//! Writes Kotlin and Swift from a built library; `mobile-bindings/generate` calls it.

fn main() {
    uniffi::uniffi_bindgen_main();
}
