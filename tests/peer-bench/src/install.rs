//! The peers' programs: found where they are installed, or built from their newest release into one directory.
//!
//! Outside the lab, [`Peers::install`] fetches and builds; inside, where there is no network, [`Peers::find`]
//! reads what became of it. A peer that cannot be had is a reason in a file, and a line in the report.

mod go;

use anyhow::{Context, Result, bail};
use osier_e2e::mesh::output;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where a system's programs come from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// None needed.
    None,
    /// This build's own `osier`.
    Own,
    /// Programs and the Debian packages that hold them.
    Debian(&'static [(&'static str, &'static str)]),
    Go(&'static GoModule),
    /// A crate and its program.
    Crate(&'static str, &'static str),
}

/// Commands of a Go module.
#[derive(Debug)]
pub struct GoModule {
    pub module: &'static str,
    /// Import paths of the commands; the last part names the program.
    pub commands: &'static [&'static str],
    /// An import of the module that its proxy may lack, and Go source that does what it does on Linux: nothing.
    pub stand_in: Option<(&'static str, &'static str)>,
}

/// A system's programs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Programs {
    pub version: String,
    paths: BTreeMap<String, PathBuf>,
}

impl Programs {
    pub fn path(&self, program: &str) -> Result<&Path> {
        let path = self.paths.get(program);
        Ok(path.with_context(|| format!("{program} was not looked for"))?)
    }
}

/// The directory that peers are built into.
#[derive(Debug)]
pub struct Peers {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Installed(Programs),
    Failed(String),
}

impl Peers {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Builds what is missing; with `anew` also what is there. Failure is remembered for [`Peers::find`].
    pub fn install(&self, name: &str, source: Source, anew: bool, say: &dyn Fn(&str)) -> Result<()> {
        if !matches!(source, Source::Go(_) | Source::Crate(..)) {
            return Ok(());
        }
        if !anew && self.find(name, source).is_ok() {
            return Ok(());
        }
        say(&format!("building {name} (kept in {})", self.root.display()));
        fs::create_dir_all(&self.root).with_context(|| format!("cannot make {}", self.root.display()))?;
        let built = match source {
            Source::Go(module) => go::install(&self.root, module),
            Source::Crate(package, program) => self.cargo(package, program),
            _ => return Ok(()),
        };
        let outcome = match built {
            Ok(programs) => Outcome::Installed(programs),
            Err(error) => Outcome::Failed(one_line(&format!("{error:#}"))),
        };
        fs::write(self.record(name), serde_json::to_string_pretty(&outcome)?)?;
        Ok(())
    }

    /// # Errors
    /// When it is not there: with the reason.
    pub fn find(&self, name: &str, source: Source) -> Result<Programs> {
        match source {
            Source::None => Ok(Programs::default()),
            Source::Own => Ok(Programs {
                version: own_version()?,
                paths: BTreeMap::new(),
            }),
            Source::Debian(programs) => debian(programs),
            Source::Go(_) | Source::Crate(..) => {
                let text = fs::read_to_string(self.record(name)).context("it has not been built")?;
                match serde_json::from_str(&text)? {
                    Outcome::Failed(reason) => bail!(reason),
                    Outcome::Installed(programs) => {
                        let gone = programs.paths.values().find(|p| !p.is_file());
                        match gone {
                            Some(path) => bail!("{} is gone", path.display()),
                            None => Ok(programs),
                        }
                    }
                }
            }
        }
    }

    fn record(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.json"))
    }

    fn cargo(&self, package: &str, program: &str) -> Result<Programs> {
        let mut command = Command::new("cargo");
        command.args(["install", "--quiet", "--locked", "--force", "--root"]);
        command.arg(&self.root).arg(package);
        // Shared, so that a second build of a crate with the same dependencies is short.
        command.env("CARGO_TARGET_DIR", self.root.join("build"));
        output(&mut command)?;
        let path = self.root.join("bin").join(program);
        let list = output(
            Command::new("cargo")
                .args(["install", "--list", "--root"])
                .arg(&self.root),
        )?;
        let version = list.lines().find_map(|line| {
            let version = line.strip_prefix(package)?.trim().strip_suffix(':')?;
            Some(version.trim_start_matches('v').to_owned())
        });
        Ok(Programs {
            version: version.context("cargo did not tell its version")?,
            paths: BTreeMap::from([(program.to_owned(), path)]),
        })
    }
}

fn own_version() -> Result<String> {
    let text = output(Command::new(osier_e2e::mesh::osier()?).arg("--version"))?;
    Ok(text.trim().trim_start_matches("osier ").to_owned())
}

fn debian(programs: &[(&str, &str)]) -> Result<Programs> {
    let (mut paths, mut versions) = (BTreeMap::new(), Vec::new());
    for &(program, package) in programs {
        paths.insert(program.to_owned(), osier_lab::tool(program, package)?);
        // Elsewhere than on Debian there is no such list.
        let told = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]));
        versions.push(told.unwrap_or_else(|_| "of this system".into()));
    }
    Ok(Programs {
        version: versions.join(", "),
        paths,
    })
}

/// The last lines say why a build failed.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    last.join("; ").chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_built_is_a_reason() {
        let peers = Peers::new(PathBuf::from("/nonexistent"));
        let reason = peers
            .find("x", Source::Crate("x", "x"))
            .err()
            .map(|e| format!("{e:#}"));
        assert!(reason.is_some_and(|r| r.starts_with("it has not been built")));
        assert!(peers.find("bare", Source::None).is_ok());
        let missing = peers.find("y", Source::Debian(&[("no-such-program", "no-such-package")]));
        assert!(
            missing
                .err()
                .is_some_and(|e| e.to_string().contains("no-such-package"))
        );
    }

    #[test]
    fn reasons_are_short() {
        assert_eq!(one_line("a\n\n b \nc\nd\n"), "b; c; d");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 400);
    }
}
