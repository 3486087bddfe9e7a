//! Writes every target's seeds to `corpus/`. Files there that have other names (found by fuzzing) stay.

use anyhow::{Context as _, Result};
use std::fs;

fn main() -> Result<()> {
    for target in osier_fuzz::TARGETS {
        let folder = osier_fuzz::corpus(target);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for (name, seed) in (target.seeds)() {
            let path = folder.join(name);
            fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
