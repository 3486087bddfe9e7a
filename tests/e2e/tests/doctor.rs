//! The doctor finds what is wrong, and what it gives to others holds no secrets.

use anyhow::{Context, Result, ensure};
use osier_e2e::{
    internet::Internet,
    mesh::{Member, Registry},
};
use osier_lab::{Lab, wait_until};
use osier_proto::{codec::to_base64url, invite::Invite};
use serde_json::Value;
use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

const SOON: Duration = Duration::from_secs(60);
const OPTIONS: [&str; 3] = ["--service", "--no-tun", "--no-upnp"];
/// Of node and registry, as they stand in `settings.toml`.
const PASSWORD: &str = "hunter2";

/// The check with this name.
fn check(member: &Member, name: &str) -> Result<Value> {
    let diagnostics = member.ask(&["doctor"])?;
    let checks = diagnostics["checks"].as_array().context("a list")?;
    let found = checks.iter().find(|c| c["name"] == name);
    Ok(found
        .with_context(|| format!("no {name} in {diagnostics}"))?
        .clone())
}

fn until(member: &Member, name: &str, verdict: &str) -> Result<Value> {
    let mut last = Value::Null;
    wait_until(SOON, &format!("{name} is {verdict}"), || {
        last = check(member, name).unwrap_or_default();
        last["verdict"] == verdict
    })
    .with_context(|| format!("{last} {}", member.log()))?;
    ensure!((verdict == "ok") == last["fix"].is_null(), "{last}");
    Ok(last)
}

/// Every way in which these octets might be written down.
fn spellings(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let base64url = to_base64url(secret);
    let base64 = base64url.replace('-', "+").replace('_', "/");
    let list = format!("{secret:?}");
    let raw = String::from_utf8_lossy(secret).into_owned();
    vec![
        hex.to_uppercase(),
        hex,
        base64url,
        base64,
        list.replace(' ', ""),
        list,
        raw,
    ]
}

fn bundle(member: &Member, file: &Path) -> Result<String> {
    let path = file.to_str().context("UTF-8")?;
    ensure!(member.ask(&["doctor", "--bundle", path])?["written"] == path);
    ensure!(
        std::fs::metadata(file)?.permissions().mode() & 0o077 == 0,
        "others can read it"
    );
    // Nothing is overwritten.
    ensure!(member.ask(&["doctor", "--bundle", path]).is_err());
    Ok(std::fs::read_to_string(file)?)
}

#[test]
fn doctor_finds_what_is_wrong_and_tells_no_secrets() -> osier_lab::Result<()> {
    Lab::run("doctor", |lab| {
        let internet = Internet::new(lab)?;
        let mut registry = Registry::create(&internet)?;
        let invite = registry.invite(2)?;
        let mut desk = Member::outsider(lab, internet.host("desk")?, &OPTIONS);
        ensure!(check(&desk, "service")?["verdict"] == "error");
        ensure!(bundle(&desk, &lab.directory().join("dead"))?.contains("Error service: "));
        desk.up()?;
        until(&desk, "membership", "error")?;
        desk.enrol(&invite)?;
        let mut other = Member::join(lab, internet.host("other")?, &invite, &OPTIONS[1..])?;
        other.up()?;
        for name in [
            "service",
            "state-directory",
            "membership",
            "switch",
            "node",
            "certificate",
            "udp",
            "neighbours",
        ] {
            until(&desk, name, "ok")?;
        }
        until(&desk, "round-trip", "ok")?;
        until(&desk, "registry", "ok")?;
        // A plain node has a doctor too.
        ensure!(check(&other, "round-trip")?["verdict"] == "ok");

        // Somebody wrote a password and an invite where they do not belong.
        let settings = format!(
            "registries = [\"http://me:{PASSWORD}@{}:8080\"]\n# {invite}\n",
            registry.host.public
        );
        std::fs::write(desk.state().join("settings.toml"), settings)?;
        desk.ask(&["reload"])?;
        registry.kill();
        let text = bundle(&desk, &lab.directory().join("bundle"))?;
        for section in [
            "system",
            "service",
            "diagnostics",
            "status",
            "peers",
            "members",
            "usage",
            "settings.toml",
            "log",
        ] {
            ensure!(
                text.contains(&format!("\n== {section} ==\n")),
                "no {section} in {text}"
            );
        }
        ensure!(
            text.contains("node started") && text.contains("[removed]@"),
            "{text}"
        );
        let key = std::fs::read(desk.state().join("identity.key"))?;
        let (_, entropy) = key
            .split_at_checked(key.len() - 64)
            .context("64 octets of keys")?;
        let mut secrets: Vec<String> = entropy.chunks(32).flat_map(spellings).collect();
        secrets.extend(spellings(entropy));
        secrets.push(PASSWORD.into());
        secrets.push(invite["osier://join/".len()..].to_owned());
        secrets.extend(spellings(&invite.parse::<Invite>()?.token));
        for secret in &secrets {
            ensure!(!text.contains(secret), "{secret:?} is in the bundle");
        }

        until(&desk, "registry", "warning")?;
        desk.ask(&["off"])?;
        until(&desk, "switch", "warning")?;
        ensure!(desk.get_text("/v1/bundle")?.contains("== settings.toml =="));
        anyhow::Ok(())
    })
}
