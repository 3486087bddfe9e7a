//! Tauri's build step. The page comes from `npm run build`; where that has not run, a notice stands in, so that this
//! crate can be checked and its own tests run without Node.

use std::{fs, path::Path};

const NOTICE: &str =
    "<!doctype html><title>Osier</title><p>The page is missing: run `npm run build` in desktop/.</p>\n";

fn main() {
    let page = Path::new("../dist/index.html");
    if !page.exists() {
        let made = page
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(page, NOTICE));
        if let Err(error) = made {
            println!("cargo::error=cannot write {}: {error}", page.display());
        }
    }
    println!("cargo::rerun-if-changed=../dist");
    tauri_build::build();
}
