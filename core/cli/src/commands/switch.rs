//! `osier on` and `osier off`: the switch of a service.

use crate::{
    control::Control, exit::Outcome, output::Output, paths::ControlArgs, progress::Progress, render,
};

#[derive(Debug, clap::Args)]
pub(crate) struct SwitchArgs {
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn switch(args: &SwitchArgs, on: bool, output: &Output) -> Outcome {
    let control = Control::new(&args.node)?;
    let progress = Progress::start(
        output,
        if on {
            "starting the node"
        } else {
            "stopping the node"
        },
    );
    let result = match on {
        true => control.client.on().await,
        false => control.client.off().await,
    };
    let service = result.map_err(|e| control.explain(e))?;
    drop(progress);
    output.show(&service, render::service)
}
