//! `flowmeter report`

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;

use crate::{
    cli::{self, ReportFormat},
    report::{self, Request, Span, Subject},
};

pub(super) fn run(arguments: &cli::Report) -> Result<()> {
    let format = arguments.format().map_err(|wrong| anyhow!(wrong))?;
    let subject = match (&arguments.finding, arguments.source) {
        (Some(id), _) => Subject::Episode(id.clone()),
        (None, Some(ip)) => Subject::Source(ip),
        (None, None) => Subject::Worst,
    };
    let request = Request {
        files: arguments.events.clone(),
        kind: arguments.kind(),
        subject,
        span: Span {
            since: arguments.since,
            until: arguments.until,
        },
    };
    let report = report::report(&request, Timestamp::now())?;
    let text = match format {
        ReportFormat::Html => report::html(&report),
        ReportFormat::Md => report::markdown(&report),
    };
    if arguments.output == Path::new("-") {
        return super::print(text);
    }
    let shown = arguments.output.display();
    fs::write(&arguments.output, text).with_context(|| format!("cannot write report {shown}"))
}
