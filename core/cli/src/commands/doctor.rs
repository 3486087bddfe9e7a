//! `osier doctor`: what was checked, what was seen, and what to do; or all of it in a file for somebody who helps.

use crate::{
    control::Control,
    exit::{Failure, Outcome},
    output::Output,
    paths::ControlArgs,
    render,
};
use osier_core::{
    bundle::Bundle,
    control::{
        client::ClientError,
        types::{Check, Diagnostics, Verdict},
    },
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Write a support bundle to a new file: versions, state, settings and log as text, without secrets
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn doctor(args: &DoctorArgs, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    match &args.bundle {
        Some(path) => write_bundle(&control, path, output).await,
        None => {
            let diagnostics = match control.client.diagnostics().await {
                Ok(diagnostics) => diagnostics,
                Err(error) => unanswered(&control, error),
            };
            output.show(&diagnostics, render::diagnostics)
        }
    }
}

async fn write_bundle(control: &Control, path: &Path, output: &Output) -> Outcome {
    let text = match control.client.bundle().await {
        Ok(text) => text,
        Err(error) => {
            let mut bundle = Bundle::new();
            bundle.diagnostics(&unanswered(control, error));
            bundle.finish()
        }
    };
    let problem = |e: io::Error| Failure::io(format!("cannot write `{}`", path.display()), &e);
    let mut file = create_private(path).map_err(problem)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(problem)?;
    output.show(&serde_json::json!({ "written": path }), |_| {
        format!(
            "wrote {}: it holds no secrets, but names and addresses; look through it before you pass it on\n",
            path.display()
        )
    })
}

/// That there is nobody to ask is what is wrong.
fn unanswered(control: &Control, error: ClientError) -> Diagnostics {
    let failure = control.explain(error);
    Diagnostics {
        checks: vec![Check {
            name: "service".into(),
            verdict: Verdict::Error,
            seen: failure.message,
            fix: failure.advice,
        }],
    }
}

/// A new file, its owner's alone; none is overwritten.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
