//! `flowmeter man`: one page that holds every command.

use std::io::Write;

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;

const FILES: &str = r#".SH FILES
.TP
.I /etc/flowmeter/flowmeter.toml
The configuration. \fBflowmeter print\-default\-config\fR prints it with every key and comments.
.TP
.I /var/log/netflow/netflow\-wazuh.json
The events.
.SH ENVIRONMENT
.TP
.B FLOWMETER_*
A key of the configuration, in upper case with underscores: \fBFLOWMETER_CAPTURE_INTERVAL=5s\fR sets
capture.interval. Lists are separated by commas. An unknown name is an error.
.TP
.B INTERNAL_NETWORKS
The same as FLOWMETER_NETWORKS_INTERNAL, which wins over it.
.TP
.B FLOWMETER_LOG
The log level, for \fB\-\-log\-level\fR.
"#;

pub(super) fn run() -> Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for subcommand in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        render_subcommand(subcommand, "FLOWMETER", &mut page)?;
    }
    page.write_all(FILES.as_bytes())?;
    render_after_help(&command, ".SH", &mut page)?;
    super::print(page)
}

/// A section of its own, with what would be the sections of its page as subsections.
fn render_subcommand(command: &Command, parent: &str, page: &mut Vec<u8>) -> Result<()> {
    // It stands once, among the options of the whole.
    let man = Man::new(command.clone().mut_arg("log_level", |option| option.hide(true)));
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    let name = format!("{parent} {}", command.get_name().to_uppercase());
    writeln!(page, ".SH \"{name}\"")?;
    page.write_all(String::from_utf8(sections)?.replace(".SH ", ".SS ").as_bytes())?;
    render_after_help(command, ".SS", page)?;
    for subcommand in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        render_subcommand(subcommand, &name, page)?;
    }
    Ok(())
}

/// A paragraph that begins with a title line is a section; lines stay as they are.
fn render_after_help(command: &Command, section: &str, page: &mut Vec<u8>) -> Result<()> {
    let Some(text) = command.get_after_help() else {
        return Ok(());
    };
    let text = text.to_string().replace('-', "\\-");
    for paragraph in text.split("\n\n") {
        let (title, lines) = paragraph.split_once(":\n").unwrap_or(("", paragraph));
        match title {
            "" => writeln!(page, ".PP")?,
            title => writeln!(page, "{section} {}", title.to_uppercase())?,
        }
        writeln!(page, ".nf\n{lines}\n.fi")?;
    }
    Ok(())
}
