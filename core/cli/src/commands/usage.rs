//! `osier usage`: octets per day, own and carried for others.

use crate::{
    control::Control,
    exit::{Exit, Failure, Outcome},
    output::Output,
    paths::ControlArgs,
    render,
};

#[derive(Debug, clap::Args)]
pub(crate) struct UsageArgs {
    /// How many days, today (UTC) included; the node keeps 400
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=400))]
    days: u16,
    /// Print comma-separated values, in octets
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    node: ControlArgs,
}

pub(crate) async fn usage(args: &UsageArgs, output: &Output) -> Outcome {
    if args.csv && output.is_json() {
        return Err(Failure::plain(Exit::Usage, "give either --csv or --json"));
    }
    let control = Control::new(&args.node)?;
    let usage = control.client.usage(args.days.into()).await;
    let usage = usage.map_err(|e| control.explain(e))?;
    match args.csv {
        true => output.write(&render::usage_csv(&usage)),
        false => output.show(&usage, render::usage),
    }
}
