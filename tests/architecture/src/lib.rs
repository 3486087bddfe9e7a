//! What the architecture promises, read off the workspace itself: who may depend on whom, which crates are
//! free of IO, which licences are in the tree. The checks are in `tests/`.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `cargo metadata` of the workspace, with every dependency resolved.
pub fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("cannot run cargo metadata: {e}"));
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("cargo metadata is not JSON: {e}"))
}

/// Names of the normal (not dev, not build) dependencies that `package` declares.
pub fn declared_dependencies(metadata: &Value, package: &str) -> Vec<String> {
    dependencies_of_kind(metadata, package, None)
}

/// Names of what only the tests of `package` use.
pub fn declared_dev_dependencies(metadata: &Value, package: &str) -> Vec<String> {
    dependencies_of_kind(metadata, package, Some("dev"))
}

fn dependencies_of_kind(metadata: &Value, package: &str, kind: Option<&str>) -> Vec<String> {
    let found = packages(metadata).find(|p| p["name"] == package);
    let Some(found) = found else {
        panic!("no package {package} in the workspace")
    };
    let dependencies = found["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter(|d| d["kind"].as_str() == kind)
        .filter_map(|d| d["name"].as_str().map(str::to_owned))
        .collect()
}

/// Every package of the resolved graph.
pub fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

/// Every file below `folder` whose name ends in one of `endings`, sorted.
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !matches!(name.as_ref(), "target" | ".git" | "node_modules") {
                    folders.push(path);
                }
            } else if endings.iter().any(|e| name.ends_with(e)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a Rust source that are code: comments and everything from the first `#[cfg(test)]` on are left
/// out (test modules stand last in a file here). Yields line numbers from 1.
pub fn code_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line))
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .map(|(i, line)| (i, line.split("//").next().unwrap_or(line)))
        .filter(|(_, line)| !line.trim().is_empty())
}
