//! Go programs, from the module proxy.

use super::{GoModule, Programs, one_line};
use anyhow::{Context, Result, bail};
use osier_e2e::mesh::output;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The first version that fetches newer toolchains by itself, as modules need them.
const SELF_UPDATING: (u32, u32) = (1, 21);
/// Fetched as a module where Go is older.
const BOOTSTRAP: &str = "golang.org/toolchain@v0.0.1-go1.25.0.linux-amd64";
/// Releases tried before giving up, newest first.
const RELEASES: usize = 6;

/// Installs a module's newest release, or the newest that can be built here.
pub(super) fn install(root: &Path, module: &GoModule) -> Result<Programs> {
    let go = Go::find(root)?;
    let newest = go.newest(module.module)?;
    let problem = match go.build(module, &newest) {
        Ok(programs) => return Ok(programs),
        Err(problem) => one_line(&format!("{problem:#}")),
    };
    if let Some((import, source)) = module.stand_in
        && problem.contains(import)
    {
        let mut programs = go.build_with(module, &newest, import, source)?;
        programs.version += &format!(" without {import}, which the proxy lacks");
        return Ok(programs);
    }
    for release in go.releases(module.module)?.iter().filter(|r| **r != newest) {
        if let Ok(mut programs) = go.build(module, release) {
            programs.version += &format!(" (newest is {newest}, which cannot be built here)");
            return Ok(programs);
        }
    }
    bail!("{newest} cannot be built: {problem}")
}

struct Go {
    program: PathBuf,
    root: PathBuf,
}

impl Go {
    fn find(root: &Path) -> Result<Self> {
        let installed = osier_lab::tool("go", "golang")?;
        let mut go = Self {
            program: installed,
            root: root.to_owned(),
        };
        let told = output(go.command().arg("version").env("GOTOOLCHAIN", "local"))?;
        if version(&told).context("go did not tell its version")? < SELF_UPDATING {
            go.program = go.bootstrap()?;
        }
        Ok(go)
    }

    /// A module archive has no executable bits.
    fn bootstrap(&self) -> Result<PathBuf> {
        let told = output(self.command().args(["mod", "download", "-json", BOOTSTRAP]))?;
        let told: Value = serde_json::from_str(&told)?;
        let directory = PathBuf::from(told["Dir"].as_str().context("go fetched no toolchain")?);
        for part in ["bin", "pkg/tool"] {
            output(
                Command::new("chmod")
                    .args(["-R", "u+x"])
                    .arg(directory.join(part)),
            )?;
        }
        Ok(directory.join("bin/go"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("GOTOOLCHAIN", "auto")
            .env("GOFLAGS", "-buildvcs=false");
        command
            .env("GOBIN", self.root.join("bin"))
            .env("CGO_ENABLED", "0");
        command.current_dir(&self.root);
        command
    }

    fn newest(&self, module: &str) -> Result<String> {
        let query = format!("{module}@latest");
        let told = output(self.command().args(["list", "-m", "-json", &query]))?;
        let told: Value = serde_json::from_str(&told)?;
        let version = told["Version"].as_str();
        Ok(version
            .with_context(|| format!("{module} has no version"))?
            .to_owned())
    }

    /// Newest first.
    fn releases(&self, module: &str) -> Result<Vec<String>> {
        let told = output(self.command().args(["list", "-m", "-versions", "-json", module]))?;
        let told: Value = serde_json::from_str(&told)?;
        let all = told["Versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let newest = all.iter().rev().filter_map(|v| v.as_str().map(str::to_owned));
        Ok(newest.take(RELEASES).collect())
    }

    fn build(&self, module: &GoModule, release: &str) -> Result<Programs> {
        for command in module.commands {
            output(self.command().args(["install", &format!("{command}@{release}")]))?;
        }
        Ok(self.built(module, release))
    }

    /// In a module of our own, which may replace one of its dependencies.
    fn build_with(&self, module: &GoModule, release: &str, import: &str, source: &str) -> Result<Programs> {
        let own = self.root.join("stand-in");
        let replacement = own.join("replacement");
        fs::create_dir_all(&replacement)?;
        fs::write(replacement.join("go.mod"), format!("module {import}\n"))?;
        fs::write(replacement.join("replacement.go"), source)?;
        fs::write(
            own.join("go.mod"),
            format!("module peers\nreplace {import} => ./replacement\n"),
        )?;
        let get = format!("{}@{release}", module.module);
        output(self.command().current_dir(&own).args(["get", &get]))?;
        let mut build = self.command();
        build.current_dir(&own).env("GOFLAGS", "-mod=mod -buildvcs=false");
        build.arg("install").args(module.commands);
        output(&mut build)?;
        Ok(self.built(module, release))
    }

    fn built(&self, module: &GoModule, release: &str) -> Programs {
        let programs = module.commands.iter().filter_map(|c| c.rsplit('/').next());
        let path = |program: &str| (program.to_owned(), self.root.join("bin").join(program));
        Programs {
            version: release.trim_start_matches('v').to_owned(),
            paths: programs.map(path).collect(),
        }
    }
}

/// From "go version go1.19.8 linux/amd64".
fn version(told: &str) -> Option<(u32, u32)> {
    let word = told.split_whitespace().find_map(|w| w.strip_prefix("go1."))?;
    let minor: String = word.chars().take_while(char::is_ascii_digit).collect();
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn go_tells_its_version() {
        assert_eq!(version("go version go1.19.8 linux/amd64"), Some((1, 19)));
        assert_eq!(version("go version go1.26rc1 linux/amd64"), Some((1, 26)));
        assert_eq!(version("go version devel"), None);
    }
}
